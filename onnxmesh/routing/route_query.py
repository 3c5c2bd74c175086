"""Constraints of one request on the replicas that may run it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import inf

import numpy as np
from numpy.typing import NDArray

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.selectors.preference import Preference
from onnxmesh.routing.selectors.selector import ANY_WORKER, Selector


@dataclass(frozen=True, slots=True, eq=False)
class CandidateFilter:
    """A filter that a caller adds to those of the policy.

    Attributes:
        rule: Its name.
        why: Its reason, in words.
        excluded: Whether each replica is filtered out, in the order of the stage's replicas.
    """

    rule: str
    why: str
    excluded: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteQuery:
    """Constraints and preferences of one request.

    Attributes:
        excluded: Workers that it already failed on.
        require: Selector that the worker must meet.
        prefer: Preferences that count for the worker's score.
        remaining_s: Time until its deadline.
        waited_s: How long it will have waited at earlier stages, during which the queue here shrinks.
        num_bytes: Bytes to send to the replica.
        filters: Further filters of the caller.
        onward_s: For each replica the transfer time to the next hop of the request; None: not known, or equal.
        randomised: Whether the pick is drawn from the best, so that several gateways do not all choose the same. Else
            it is the best of all zones, in its slow start or not, and of equals the first.
        affinity: By stage the worker that has served the request's session; it is picked again if it passes every filter.
    """

    excluded: Collection[WorkerId] = ()
    require: Selector = ANY_WORKER
    prefer: tuple[Preference, ...] = ()
    remaining_s: float = inf
    waited_s: float = 0.0
    num_bytes: float = 0.0
    filters: tuple[CandidateFilter, ...] = ()
    onward_s: NDArray[np.float64] | None = field(default=None, compare=False)
    randomised: bool = True
    affinity: Mapping[StageKey, WorkerId] = field(default_factory=dict)


UNCONSTRAINED = RouteQuery()
"""No constraint and no preference."""
