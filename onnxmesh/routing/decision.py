"""The policy's decision for one stage of one request, with everything that it was based on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.stage_board import OriginView, StageBoard

ALL_TIERS = -1
"""The tier of a pick that was open to every zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Expected times of one request on each replica, in seconds, in the order of the stage's replicas.

    Attributes:
        wait_s: Work queued ahead of the request.
        transfer_s: Transfer to the replica, and onward to the next hop where the query names one.
        ready_s: Compute, and the wait that remains when the request arrives.
        completion_s: Transfer, all the wait and compute.
        score_s: Completion, plus caution for work of others, less the bonus of preferences; less is better.
    """

    wait_s: NDArray[np.float64]
    transfer_s: NDArray[np.float64]
    ready_s: NDArray[np.float64]
    completion_s: NDArray[np.float64]
    score_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The replica that was picked, and how.

    Attributes:
        index: The replica; None: there is none.
        pool: The candidates of the tier, without those held back by slow start.
        tier: The tier that the request was assigned to.
        tier_shares: Share of requests that each tier keeps; empty where tiers play no part.
        is_late: Whether nothing was picked because no candidate can finish in time.
        is_probe: Whether a candidate was picked although, by the estimates, none can finish in time.
        is_exploration: Whether the pick is any candidate rather than one of the best.
        is_affine: Whether the pick is the replica that holds the request's session.
    """

    index: int | None
    pool: NDArray[np.bool_]
    tier: int = ALL_TIERS
    tier_shares: tuple[float, ...] = ()
    is_late: bool = False
    is_probe: bool = False
    is_exploration: bool = False
    is_affine: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision and its basis; arrays are in the order of the stage's replicas.

    Attributes:
        stage: The replicas.
        query: The constraints of the request.
        view: The replicas as seen from the request's origin.
        up: Whether each replica's worker is live and not draining.
        passed: Whether each replica passed every filter.
        scores: Expected times on each replica.
        pick: The outcome.
    """

    stage: StageBoard
    query: RouteQuery
    view: OriginView
    up: NDArray[np.bool_]
    passed: NDArray[np.bool_]
    scores: Scores
    pick: Pick

    @property
    def index(self) -> int | None:
        """The replica that was picked; None: there is none."""
        return self.pick.index

    @property
    def soonest_s(self) -> float:
        """Least time to compute on a replica that passed the filters, wait included, transfer not."""
        return float(self.scores.ready_s[self.passed].min())
