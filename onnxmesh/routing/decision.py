"""What the policy decided for one stage of one request, and by what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.stage_board import StageBoard, View

ALL_TIERS = -1
"""The tier of a decision that was open to every zone."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and what it was decided by; columns are in the order of the stage's replicas.

    Attributes:
        stage: The replicas.
        ask: What was wanted of them.
        view: How they are seen from where the request comes from.
        up: Live and not draining.
        passed: Passed every filter.
        wait_s: Work ahead of the request.
        transfer_s: Time to get there, and on from there where the request says where to.
        ready_s: Computing, and the wait that is left when the request comes there.
        completion_s: Transfer, all the wait and computing.
        score_s: Completion, and for caution something for what others usually have there, less bonus; less is better.
        pool: Those of the tier and past their slow start.
        tier: Whose turn it was.
        shares: For each tier, the share of requests that it keeps.
        index: The pick; None: there is none.
        late: Whether nobody was picked because nobody can be done in time.
        probe: Whether somebody was picked although nobody can be done in time, as far as is known.
        explored: Whether the pick was any candidate rather than one of the best.
        stays: Whether the pick is where the request's session is.
    """

    stage: StageBoard
    ask: RouteQuery
    view: View
    up: NDArray[np.bool_]
    passed: NDArray[np.bool_]
    wait_s: NDArray[np.float64]
    transfer_s: NDArray[np.float64]
    ready_s: NDArray[np.float64]
    completion_s: NDArray[np.float64]
    score_s: NDArray[np.float64]
    pool: NDArray[np.bool_]
    tier: int
    shares: tuple[float, ...]
    index: int | None
    late: bool = False
    probe: bool = False
    explored: bool = False
    stays: bool = False

    @property
    def soonest_s(self) -> float:
        """When the first of those who passed is expected to be done, the way there apart."""
        return float(self.ready_s[self.passed].min())
