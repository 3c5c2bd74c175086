"""Placement candidates: the worker for a replica, by the filters, scores and pick that gateways route by. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxmesh.ids import StageKey
from onnxmesh.routing.decision import Decision
from onnxmesh.routing.explanation import Explanation, explain_route
from onnxmesh.routing.network import Network
from onnxmesh.routing.policy import choose_replica
from onnxmesh.routing.policy_settings import PolicySettings
from onnxmesh.routing.route_query import CandidateFilter, RouteQuery
from onnxmesh.routing.stage_board import Origin, StageBoard
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from onnxmesh.routing.worker_board import WorkerBoard
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.placement_state import LEAST_COST_S, PlacementState
from services.scheduler.placement.spread import Spread
from services.scheduler.workers.holdings import HoldingState

MAX_FAILURES = 3
"""Failures in a row after which a stage is not expected to load on a worker any more."""

# The work of every worker is known exactly: no margin for stale loads.
_SETTINGS = PolicySettings(caution=0.0)
_MAX_RATIO = 16.0
_ANY_STAGE = StageKey("")


class _NoDraws:
    """A random source that must not be used: the best candidate is chosen."""

    def random(self) -> float:
        """Fails."""
        raise AssertionError


@dataclass(frozen=True, slots=True)
class Headroom:
    """Memory for one more replica, where no worker could be given one.

    Attributes:
        lacking_bytes: Bytes that the best candidate lacks; None: there is no candidate.
        may_grow: Whether a worker may be able to load it soon: memory is being freed, or a failed load will be tried again.
    """

    lacking_bytes: int | None
    may_grow: bool


class PlacementCandidates:
    """Chooses workers for replicas, in the placement state as it is at each call. All workers are on one board.

    Args:
        state: Who holds what.
    """

    def __init__(self, state: PlacementState) -> None:
        self._state = state
        self._spread = Spread(state)
        self._network = Network()
        self._known: set[int] = set()

    def choose(self, stage: DesiredStage, *excluded: CandidateFilter) -> Decision | None:
        """Chooses the worker for one more replica of a stage; None: there is none.

        Eligible workers are narrowed down: to homes that the plan assigns the stage to, to zones that have the fewest of its
        replicas, to such hosts, to workers that have the fewest stages of the same plan. Of these the one is chosen where a
        request is expected to complete first, the links from the stage before and to the one after included.

        Args:
            stage: The stage.
            *excluded: Filters beyond those of every placement.
        """
        state = self._state
        filters = [*excluded, *self._filters(stage)]
        remaining = ~state.columns.leaving
        for each in filters:
            remaining &= ~each.excluded
        if not remaining.any():
            return None
        for each in self._narrowing(stage, remaining):
            remaining = remaining & ~each.excluded
            filters.append(each)
        return self._decide(stage, remaining, filters)

    def headroom(self, stage: DesiredStage) -> Headroom:
        """Returns the headroom of a stage that no worker could be given."""
        state, columns = self._state, self._state.columns
        able = columns.eligible(stage.require, stage.cpu_class) & ~columns.leaving & ~self._holding(stage)
        busy = self._busy(stage)
        free = able & ~busy
        lacks = state.memory.lacks(stage.peak_bytes)
        later = [self._may_load_soon(worker, stage) for worker in (able & busy & (lacks == 0)).nonzero()[0]]
        return Headroom(int(lacks[free].min()) if free.any() else None, state.freeing or any(later))

    def explain(self, stage: DesiredStage, decision: Decision) -> Explanation:
        """Explains a decision that was made just now, worker by worker."""
        return replace(explain_route(decision, self._workers, self._state.now_s), stage=stage.key)

    def is_faster(self, decision: Decision, source: int) -> bool:
        """Whether a request would complete sooner on the chosen worker than on another."""
        assert decision.index is not None
        return bool(decision.scores.completion_s[decision.index] < decision.scores.completion_s[source])

    def _filters(self, stage: DesiredStage) -> list[CandidateFilter]:
        state = self._state
        eligible = state.columns.eligible(stage.require, stage.cpu_class)
        return [
            CandidateFilter("requirement", f"does not meet what stage '{stage.key}' requires", ~eligible),
            CandidateFilter("held", "it holds the stage", self._holding(stage)),
            CandidateFilter("busy", "the stage failed there, or is being evicted", self._busy(stage)),
            CandidateFilter("memory", "it lacks the memory", state.memory.lacks(stage.peak_bytes) > 0),
        ]

    def _holding(self, stage: DesiredStage) -> NDArray[np.bool_]:
        state = self._state
        return _marked(
            len(state.columns), state.holders[stage.key] + state.leaving_holders.get(stage.key, [])
        )

    def _busy(self, stage: DesiredStage) -> NDArray[np.bool_]:
        """Returns where something of a stage must be evicted first, or failed and is not to be tried again yet."""
        state = self._state
        remnants = state.remnants.get(stage.key, [])
        return _marked(len(state.columns), [each for each in remnants if not state.is_due(each, stage)])

    def _may_load_soon(self, worker: int, stage: DesiredStage) -> bool:
        held = self._state.held(worker, stage.key)
        return held is not None and (held.state is not HoldingState.FAILED or held.failures < MAX_FAILURES)

    def _narrowing(self, stage: DesiredStage, remaining: NDArray[np.bool_]) -> list[CandidateFilter]:
        """Returns filters that each keep at least one of the remaining workers."""
        state, columns = self._state, self._state.columns
        filters = []
        if stage.homes and (at_home := remaining & self._spread.vacant(stage)).any():
            filters.append(CandidateFilter("home", "the plan assigns it to others", ~at_home))
            remaining = at_home
        if state.holders[stage.key]:
            if columns.num_zones > 1:
                filters.append(
                    _fewest("zone", "its zone has more", state.in_zones(stage)[columns.zones], remaining)
                )
                remaining = remaining & ~filters[-1].excluded
            filters.append(
                _fewest("host", "its host has more", state.on_hosts(stage)[columns.hosts], remaining)
            )
            remaining = remaining & ~filters[-1].excluded
        alike = np.zeros(len(columns), np.int64)
        for worker, num in state.num_alike(stage).items():
            alike[worker] = num
        filters.append(_fewest("same model", "it has more stages of the model", alike, remaining))
        remaining = remaining & ~filters[-1].excluded
        if columns.num_zones > 1 and not any(self._around(stage)):
            filters.append(self._exclude_small_zones(stage, remaining))
        return filters

    def _exclude_small_zones(self, stage: DesiredStage, remaining: NDArray[np.bool_]) -> CandidateFilter:
        """Excludes zones in which fewer of a plan's stages have an idle worker: a pipeline begins where it fits."""
        columns, num_stages = self._state.columns, self._state.num_stages
        idle = remaining & (num_stages <= num_stages[remaining].min() + 1)
        fits = np.bincount(columns.zones[idle], minlength=columns.num_zones)
        fits = np.minimum(fits, self._state.num_in_pipeline(stage))[columns.zones]
        return _fewest(
            "small zone", "its zone has fewer workers for the rest of the pipeline", -fits, remaining
        )

    def _around(self, stage: DesiredStage) -> tuple[list[int], list[int]]:
        """Returns the holders of the stage before, and of the one after."""
        before, after = self._state.neighbours(stage)
        return self._all_holders(before), self._all_holders(after)

    def _all_holders(self, stage: DesiredStage | None) -> list[int]:
        if stage is None:
            return []
        return self._state.holders[stage.key] or self._state.leaving_holders.get(stage.key, [])

    def _decide(
        self, stage: DesiredStage, remaining: NDArray[np.bool_], filters: list[CandidateFilter]
    ) -> Decision:
        state, board, workers = self._state, self._board, self._workers
        compute_s = self._compute_s(stage)
        board.set_expected(compute_s)
        work_s = state.work_ns * 1e-9 + state.columns.wait_s
        workers.set_expected(board.slots, work_s, state.now_s)
        before, after = self._around(stage)
        sender = state.neighbours(stage)[0]
        sent_bytes = 0 if sender is None else sender.sent_bytes
        origin, onward_s = Origin(), None
        if before:
            origin = self._place(self._most_lacking(before, stage, remaining))
        if after:
            following = self._most_lacking(after, stage, remaining)
            if before:
                onward_s = self._link_s(following, stage.sent_bytes)
            else:
                origin, sent_bytes = self._place(following), stage.sent_bytes
        query = RouteQuery(num_bytes=sent_bytes, filters=tuple(filters), onward_s=onward_s, randomised=False)
        return choose_replica(
            board,
            workers,
            self._network,
            origin=origin,
            query=query,
            settings=_SETTINGS,
            rng=_NoDraws(),
            now_s=state.now_s,
        )

    def _compute_s(self, stage: DesiredStage) -> NDArray[np.float64]:
        """Returns the time of a request on each: as planned, longer on a slower device than it was planned for."""
        columns = self._state.columns
        flops_per_s = columns.flops_per_s
        cost_s = max(stage.cost_s, LEAST_COST_S)
        planned = flops_per_s[columns.homes(stage.homes) == 0] if stage.homes else flops_per_s
        planned = planned[~np.isnan(planned)]
        if not len(planned):
            return np.full(len(columns), cost_s)
        ratios = np.clip(np.median(planned) / flops_per_s, 1 / _MAX_RATIO, _MAX_RATIO)
        return cost_s * np.where(np.isnan(ratios), 1.0, ratios)

    def _most_lacking(self, holders: list[int], stage: DesiredStage, remaining: NDArray[np.bool_]) -> int:
        """Returns the neighbour's replica in the zone with the largest shortage of this stage, zones with a candidate first."""
        if len(holders) == 1:
            return holders[0]
        zones, own = self._state.columns.zones, self._state.in_zones(stage)
        theirs = np.bincount(zones[holders], minlength=len(own))
        has_candidate = np.bincount(zones[remaining], minlength=len(own)) > 0

        def rank(worker: int) -> tuple[bool, int, int]:
            zone = zones[worker]
            return bool(has_candidate[zone]), int(theirs[zone] - own[zone]), -worker

        return max(holders, key=rank)

    def _place(self, worker: int) -> Origin:
        """Returns a worker as the origin of requests; its measured links are added to the network."""
        columns = self._state.columns
        id_, locality = columns.ids[worker], columns.facts[worker].locality
        if worker not in self._known:
            self._known.add(worker)
            for node, link in columns.views[worker].links.items():
                self._network.observe(id_, node, link)
        return Origin(id_, locality)

    def _link_s(self, worker: int, num_bytes: int) -> NDArray[np.float64]:
        """Returns the transfer time from each worker to one of them; links count as symmetric."""
        view = self._board.view(self._place(worker), self._network)
        link_s = view.half_trip_s + view.s_per_byte * num_bytes
        link_s[worker] = 0.0
        return link_s

    @cached_property
    def _workers(self) -> WorkerBoard:
        return WorkerBoard()

    @cached_property
    def _board(self) -> StageBoard:
        columns, workers = self._state.columns, self._workers
        replicas = tuple(
            Replica(id_, "", 0, facts) for id_, facts in zip(columns.ids, columns.facts, strict=True)
        )
        board = StageBoard(RoutedStage(_ANY_STAGE, replicas), workers, _SETTINGS, now_s=self._state.now_s)
        for slot in board.slots[columns.leaving].tolist():
            workers.set_draining(slot, draining=True)
        return board


def _fewest(rule: str, why: str, figures: NDArray[np.int64], remaining: NDArray[np.bool_]) -> CandidateFilter:
    """Excludes workers whose count is not the least among the remaining ones."""
    return CandidateFilter(rule, why, figures > figures[remaining].min())


def _marked(num: int, workers: list[int]) -> NDArray[np.bool_]:
    marked = np.zeros(num, np.bool_)
    marked[workers] = True
    return marked
