"""Whom a replica is given to: workers filtered, scored and picked by the policy that gateways run. Pure."""

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
"""A stage that failed on a worker so often in a row is not expected to load there later."""

# What others have there is known, as of now.
_SETTINGS = PolicySettings(caution=0.0)
_MAX_RATIO = 16.0
_ANY_STAGE = StageKey("")


class _NoDraws:
    """Draws nothing: the best is taken."""

    def random(self) -> float:
        """Must not be called."""
        raise AssertionError


@dataclass(frozen=True, slots=True)
class Headroom:
    """Why nobody could be given a replica.

    Attributes:
        lacking_bytes: What the best of those who could take it lacks of memory; None: nobody could.
        later: Whether somebody may be able to take it before long: it has yet to go there, or to be tried again.
    """

    lacking_bytes: int | None
    later: bool


class PlacementCandidates:
    """Finds workers for replicas in a state, as it is at each call. Every worker of it is on one board.

    Args:
        state: What is where.
    """

    def __init__(self, state: PlacementState) -> None:
        self._state = state
        self._spread = Spread(state)
        self._network = Network()
        self._known: set[int] = set()

    def choose(self, stage: DesiredStage, *bars: CandidateFilter) -> Decision | None:
        """Chooses who is to be given one more replica of a stage; None: nobody can be.

        Those who can are narrowed down: to homes that the plan means the stage for, to zones that have the fewest of its
        replicas, to such hosts, to workers that have the fewest stages of the same plan. Of these it is the one where a request
        is expected to be done first, the ways from the stage before and to the one after included.

        Args:
            stage: Which.
            *bars: Who may not be, beside.
        """
        state = self._state
        found = [*bars, *self._filters(stage)]
        left = ~state.columns.leaving
        for bar in found:
            left &= ~bar.excluded
        if not left.any():
            return None
        for bar in self._narrowing(stage, left):
            left = left & ~bar.excluded
            found.append(bar)
        return self._decide(stage, left, found)

    def room(self, stage: DesiredStage) -> Headroom:
        """Says of a stage that nobody could be given why that is."""
        state, columns = self._state, self._state.columns
        able = columns.eligible(stage.require, stage.cpu_class) & ~columns.leaving & ~self._holding(stage)
        busy = self._busy(stage)
        free = able & ~busy
        lacks = state.memory.lacks(stage.peak_bytes)
        soon = [self._may_be_free(worker, stage) for worker in (able & busy & (lacks == 0)).nonzero()[0]]
        return Headroom(int(lacks[free].min()) if free.any() else None, state.freeing or any(soon))

    def explain(self, stage: DesiredStage, decision: Decision) -> Explanation:
        """Puts a decision that was made just now into words, worker by worker."""
        return replace(explain_route(decision, self._workers, self._state.now_s), stage=stage.key)

    def is_faster(self, decision: Decision, source: int) -> bool:
        """Whether a request would be done sooner on the pick than on another worker."""
        assert decision.index is not None
        return bool(decision.scores.completion_s[decision.index] < decision.scores.completion_s[source])

    def _filters(self, stage: DesiredStage) -> list[CandidateFilter]:
        state = self._state
        eligible = state.columns.eligible(stage.require, stage.cpu_class)
        return [
            CandidateFilter("requirement", f"does not meet what stage '{stage.key}' requires", ~eligible),
            CandidateFilter("held", "it holds the stage", self._holding(stage)),
            CandidateFilter("busy", "the stage failed there, or is on its way out", self._busy(stage)),
            CandidateFilter("memory", "there is no room", state.memory.lacks(stage.peak_bytes) > 0),
        ]

    def _holding(self, stage: DesiredStage) -> NDArray[np.bool_]:
        state = self._state
        return _marked(
            len(state.columns), state.holders[stage.key] + state.leaving_holders.get(stage.key, [])
        )

    def _busy(self, stage: DesiredStage) -> NDArray[np.bool_]:
        """Returns where something of a stage is left that must go first, or failed and is not to be tried again yet."""
        state = self._state
        remnants = state.remnants.get(stage.key, [])
        return _marked(len(state.columns), [each for each in remnants if not state.is_due(each, stage)])

    def _may_be_free(self, worker: int, stage: DesiredStage) -> bool:
        held = self._state.held(worker, stage.key)
        return held is not None and (held.state is not HoldingState.FAILED or held.failures < MAX_FAILURES)

    def _narrowing(self, stage: DesiredStage, left: NDArray[np.bool_]) -> list[CandidateFilter]:
        """Returns bars that leave somebody of those who are left."""
        state, columns = self._state, self._state.columns
        bars = []
        if stage.homes and (at_home := left & self._spread.vacant(stage)).any():
            bars.append(CandidateFilter("home", "the plan means it for others", ~at_home))
            left = at_home
        if state.holders[stage.key]:
            if columns.num_zones > 1:
                bars.append(_fewest("zone", "its zone has more", state.in_zones(stage)[columns.zones], left))
                left = left & ~bars[-1].excluded
            bars.append(_fewest("host", "its host has more", state.on_hosts(stage)[columns.hosts], left))
            left = left & ~bars[-1].excluded
        alike = np.zeros(len(columns), np.int64)
        for worker, num in state.num_alike(stage).items():
            alike[worker] = num
        bars.append(_fewest("same model", "it has more stages of the model", alike, left))
        left = left & ~bars[-1].excluded
        if columns.num_zones > 1 and not any(self._around(stage)):
            bars.append(self._too_small(stage, left))
        return bars

    def _too_small(self, stage: DesiredStage, left: NDArray[np.bool_]) -> CandidateFilter:
        """Bars zones in which fewer of a plan's stages have a worker with little to do: a pipeline begins where it fits."""
        columns, num_stages = self._state.columns, self._state.num_stages
        idle = left & (num_stages <= num_stages[left].min() + 1)
        fits = np.bincount(columns.zones[idle], minlength=columns.num_zones)
        fits = np.minimum(fits, self._state.num_in_pipeline(stage))[columns.zones]
        return _fewest("small zone", "its zone has fewer workers for the rest of the pipeline", -fits, left)

    def _around(self, stage: DesiredStage) -> tuple[list[int], list[int]]:
        """Returns who holds the stage before, and the one after."""
        before, after = self._state.neighbours(stage)
        return self._everywhere(before), self._everywhere(after)

    def _everywhere(self, stage: DesiredStage | None) -> list[int]:
        if stage is None:
            return []
        return self._state.holders[stage.key] or self._state.leaving_holders.get(stage.key, [])

    def _decide(self, stage: DesiredStage, left: NDArray[np.bool_], bars: list[CandidateFilter]) -> Decision:
        state, board, workers = self._state, self._board, self._workers
        compute_s = self._compute_s(stage)
        board.set_expected(compute_s)
        work_s = state.work_ns * 1e-9 + state.columns.wait_s
        workers.set_expected(board.slots, work_s, state.now_s)
        before, after = self._around(stage)
        sent = state.neighbours(stage)[0]
        sent_bytes = 0 if sent is None else sent.sent_bytes
        origin, onward_s = Origin(), None
        if before:
            origin = self._place(self._most_lacking(before, stage, left))
        if after:
            following = self._most_lacking(after, stage, left)
            if before:
                onward_s = self._link_s(following, stage.sent_bytes)
            else:
                origin, sent_bytes = self._place(following), stage.sent_bytes
        ask = RouteQuery(num_bytes=sent_bytes, filters=tuple(bars), onward_s=onward_s, randomised=False)
        return choose_replica(
            board,
            workers,
            self._network,
            origin=origin,
            query=ask,
            settings=_SETTINGS,
            rng=_NoDraws(),
            now_s=state.now_s,
        )

    def _compute_s(self, stage: DesiredStage) -> NDArray[np.float64]:
        """Returns what a request takes on each: as planned, more on a slower device than it was planned for."""
        columns = self._state.columns
        flops_per_s = columns.flops_per_s
        cost_s = max(stage.cost_s, LEAST_COST_S)
        planned = flops_per_s[columns.homes(stage.homes) == 0] if stage.homes else flops_per_s
        planned = planned[~np.isnan(planned)]
        if not len(planned):
            return np.full(len(columns), cost_s)
        ratios = np.clip(np.median(planned) / flops_per_s, 1 / _MAX_RATIO, _MAX_RATIO)
        return cost_s * np.where(np.isnan(ratios), 1.0, ratios)

    def _most_lacking(self, holders: list[int], stage: DesiredStage, left: NDArray[np.bool_]) -> int:
        """Returns the replica of a neighbour whose zone lacks this stage most, of those whose zone can be given it."""
        if len(holders) == 1:
            return holders[0]
        zones, own = self._state.columns.zones, self._state.in_zones(stage)
        theirs = np.bincount(zones[holders], minlength=len(own))
        can = np.bincount(zones[left], minlength=len(own)) > 0

        def rank(worker: int) -> tuple[bool, int, int]:
            zone = zones[worker]
            return bool(can[zone]), int(theirs[zone] - own[zone]), -worker

        return max(holders, key=rank)

    def _place(self, worker: int) -> Origin:
        """Returns a worker as the place where requests come from; what it measured is known from then on."""
        columns = self._state.columns
        id_, locality = columns.ids[worker], columns.facts[worker].locality
        if worker not in self._known:
            self._known.add(worker)
            for node, way in columns.views[worker].links.items():
                self._network.observe(id_, node, way)
        return Origin(id_, locality)

    def _link_s(self, worker: int, num_bytes: int) -> NDArray[np.float64]:
        """Returns what it takes from each worker to one of them; ways back are as long as ways there."""
        view = self._board.view(self._place(worker), self._network)
        way_s = view.half_trip_s + view.s_per_byte * num_bytes
        way_s[worker] = 0.0
        return way_s

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


def _fewest(rule: str, why: str, figures: NDArray[np.int64], left: NDArray[np.bool_]) -> CandidateFilter:
    """Bars whose figure is not the least among those who are left."""
    return CandidateFilter(rule, why, figures > figures[left].min())


def _marked(num: int, workers: list[int]) -> NDArray[np.bool_]:
    marked = np.zeros(num, np.bool_)
    marked[workers] = True
    return marked
