"""What a request wants of a replica."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import inf

import numpy as np
from numpy.typing import NDArray

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.candidate_filter import CandidateFilter
from onnxmesh.routing.selectors.preference import Preference
from onnxmesh.routing.selectors.selector import EVERYBODY, Selector


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """What a request wants of the replica.

    Attributes:
        excluded: Workers that failed it already.
        require: What the worker must meet.
        prefer: What it should meet.
        remaining_s: Time until its deadline.
        waited_s: How long it will have waited before: what is ahead of it there gets on meanwhile.
        num_bytes: What must be sent to the replica.
        bars: Rules of the asker's own.
        onward_s: For each replica the time from there to where the request goes next; None: not known, or equal.
        draws: Whether one of the best is drawn, so that several askers do not all choose the same. Else it is the best of
            all zones, be it new or not, and of equals the first.
        stay: By stage the worker that has served its session, which gets it again where it passes every filter.
    """

    excluded: Collection[WorkerId] = ()
    require: Selector = EVERYBODY
    prefer: tuple[Preference, ...] = ()
    remaining_s: float = inf
    waited_s: float = 0.0
    num_bytes: float = 0.0
    bars: tuple[CandidateFilter, ...] = ()
    onward_s: NDArray[np.float64] | None = field(default=None, compare=False)
    draws: bool = True
    stay: Mapping[StageKey, WorkerId] = field(default_factory=dict)


ANY = RouteQuery()
"""Nothing in particular."""
