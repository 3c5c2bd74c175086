"""Balancer: the routing policy with its state.

Each gateway has one of its own, which observes the reports of workers and the outcomes of requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.decision import Decision
from onnxmesh.routing.ejections import Ejections
from onnxmesh.routing.explanation import Explanation, explain_route
from onnxmesh.routing.network import Network
from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.policy import choose_replica
from onnxmesh.routing.policy_settings import DEFAULT_SETTINGS, PolicySettings
from onnxmesh.routing.route_query import UNCONSTRAINED, RouteQuery
from onnxmesh.routing.stage_board import Origin, StageBoard
from onnxmesh.routing.table.random_source import RandomSource
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from onnxmesh.routing.worker_board import WorkerBoard

Route = tuple[Replica, ...]
"""One replica for each stage, in the order of the pipeline."""

IsLive = Callable[[WorkerId], bool]
"""Whether frames can be sent to a worker."""

_ALWAYS_REFRESHED = 64
"""Stages with at most this many replicas refresh the liveness of their workers at every decision."""

_REFRESH_S = 0.05
"""Larger stages refresh it this often, and when a picked replica is not live."""


@dataclass(frozen=True, slots=True)
class Booking:
    """The work of one request that is booked on one worker.

    Attributes:
        stage: The stage that it runs there.
        slot: The worker's slot on the board.
        work_s: Its expected work.
        ahead_s: Work of the same gateway that was there before it.
    """

    stage: StageKey
    slot: int
    work_s: float
    ahead_s: float


Ticket = tuple[Booking, ...]
"""The bookings of one attempt, one for each stage of its route."""


class Balancer:
    """Chooses routes and learns from their outcomes. Belongs to one event loop. Pure: clock and random are given.

    Attributes:
        settings: Parameters of the policy.
        workers: The board of workers.
        network: Measured links.
        ejections: Replicas that routes avoid.

    Args:
        home: The gateway and its locality.
        rng: Source of the draws.
        settings: Parameters of the policy.
    """

    def __init__(self, home: Origin, rng: RandomSource, settings: PolicySettings = DEFAULT_SETTINGS) -> None:
        self._home = home
        self._rng = rng
        self.settings = settings
        self._stages: dict[StageKey, StageBoard] = {}
        self._refreshed_s: dict[StageKey, float] = {}
        self.workers = WorkerBoard()
        self.network = Network()
        self.ejections = Ejections(self._stages)

    def remove(self, stages: Iterable[StageKey], workers: Iterable[WorkerId]) -> None:
        """Removes stages and workers that left the route table; tickets of requests in flight there stay valid."""
        for key in stages:
            self._stages.pop(key, None)
            self._refreshed_s.pop(key, None)
        for worker in workers:
            self.workers.remove(worker)
            self.network.remove(worker)

    def num_ejected(self, now_s: float) -> int:
        """Returns how many replicas are ejected now. May be called from any thread."""
        boards = list(self._stages.values())
        return sum(int((board.ejected_until_s > now_s).sum()) for board in boards)

    def board(self, stage: RoutedStage, now_s: float) -> StageBoard:
        """Returns the board of a stage, updated to its replicas in the newest route table."""
        board = self._stages.get(stage.key)
        if board is not None and board.stage is not stage and board.stage.replicas == stage.replicas:
            board.stage = stage  # so that the next comparison is by identity
        elif board is None or board.stage is not stage:
            board = StageBoard(stage, self.workers, self.settings, now_s=now_s, previous=board)
            self._stages[stage.key] = board
            self._refreshed_s[stage.key] = -inf
        return board

    def pick_route(
        self, stages: Sequence[RoutedStage], is_live: IsLive, now_s: float, query: RouteQuery = UNCONSTRAINED
    ) -> Route | NoRoute:
        """Returns a route over live workers, or the first stage that has no replica for the request.

        Args:
            stages: The model's stages.
            is_live: Whether frames can be sent to a worker.
            now_s: The time.
            query: Constraints of the request; `num_bytes` is what is sent to the first stage.
        """
        if (only := self._only_route(stages, is_live, now_s, query)) is not None:
            return only
        route: list[Replica] = []
        for index, decision in enumerate(self._decisions(stages, is_live, now_s, query)):
            if decision.index is None:
                return NoRoute(index, decision)
            route.append(decision.stage.replicas[decision.index])
        return tuple(route)

    def explain(
        self,
        stages: Sequence[RoutedStage],
        is_live: IsLive,
        now_s: float,
        query: RouteQuery = UNCONSTRAINED,
        origin: Origin | None = None,
    ) -> list[Explanation]:
        """Returns an explanation of each decision that `pick_route` would make, up to the first without a pick.

        Args:
            stages: The model's stages.
            is_live: Whether frames can be sent to a worker.
            now_s: The time.
            query: Constraints of the request.
            origin: Where the request would come from; None: from this gateway.
        """
        return [
            explain_route(decision, self.workers, now_s)
            for decision in self._decisions(stages, is_live, now_s, query, origin)
        ]

    def begin(self, stages: Sequence[RoutedStage], route: Route, now_s: float) -> Ticket:
        """Records the start of an attempt on a route; `end` its ticket whatever the outcome."""
        hops = []
        for stage, replica in zip(stages, route, strict=True):
            board = self.board(stage, now_s)
            index = board.index(replica.worker)
            if index is not None:
                slot = board.workers[index][0]
                ahead_s = min(self.workers.own_s.item(slot), self.workers.own_arrived_s.item(slot))
                hops.append(Booking(stage.key, slot, board.compute_s.item(index), ahead_s))
        for booking in hops:
            self.workers.begin(booking.slot, booking.work_s)
        return tuple(hops)

    def end(self, ticket: Ticket) -> None:
        """Records the end of an attempt."""
        for booking in ticket:
            self.workers.end(booking.slot, booking.work_s)

    def observe_wait(self, ticket: Ticket, stage: StageKey, wait_s: float) -> None:
        """Records how long an answered request waited at one hop; call it before the ticket ends."""
        for booking in ticket:
            if booking.stage == stage:
                self.workers.observe_wait(booking.slot, wait_s, booking.ahead_s)

    def observe_answer(
        self, stage: StageKey, worker: WorkerId, compute_s: float, now_s: float
    ) -> float | None:
        """Records the compute time of one hop of an answered request.

        Returns:
            The end of the ejection that this causes, None if it causes none.
        """
        board = self._stages.get(stage)
        index = None if board is None else board.index(worker)
        if board is None or index is None:
            return None
        board.observe_compute(index, compute_s)
        until_s = board.outliers.observe_answer(worker, compute_s, now_s)
        if until_s is not None:
            self.ejections.eject(stage, worker, until_s)
        return until_s

    def observe_failure(
        self, worker: WorkerId, stages: Iterable[StageKey], now_s: float
    ) -> dict[StageKey, float]:
        """Records a failure that is a worker's fault, of a request with these stages there.

        Returns:
            The stages whose replica there is ejected by this, and until when.
        """
        ejected = {}
        for key in stages:
            board = self._stages.get(key)
            index = None if board is None else board.index(worker)
            if board is None or index is None:
                continue
            until_s = board.outliers.observe_failure(worker, now_s)
            if until_s is not None:
                self.ejections.eject(key, worker, until_s)
                ejected[key] = until_s
        return ejected

    def observe_report(
        self, worker: WorkerId, work_s: float, compute_s: Mapping[StageKey, float], now_s: float
    ) -> None:
        """Records a worker's report: all its work, and the average compute time of a request by stage."""
        self.workers.observe_report(worker, work_s, now_s)
        for key, mean_s in compute_s.items():
            board = self._stages.get(key)
            index = None if board is None else board.index(worker)
            if board is not None and index is not None and mean_s > 0.0:
                board.observe_compute(index, mean_s)

    def mark_lost(self, worker: WorkerId) -> None:
        """Records that the stream to a worker broke; its last report is void."""
        slot = self.workers.slot(worker)
        self.workers.set_live(slot, False)
        self.workers.set_suspect(slot, False)

    def mark_suspect(self, worker: WorkerId, suspect: bool) -> None:
        """Sets whether the heartbeat of a worker is overdue; others go first meanwhile."""
        self.workers.set_suspect(self.workers.slot(worker), suspect)

    def release_ejections(self, found: NoRoute, now_s: float) -> bool:
        """Ends every ejection of a stage where a request found no other replica; returns whether that helps the request."""
        board, query = found.decision.stage, found.decision.query
        ejected = found.decision.up & (board.ejected_until_s > now_s)
        if query.require:
            ejected &= board.selected(query.require)
        helps = any(
            board.replicas[index].worker not in query.excluded for index in ejected.nonzero()[0].tolist()
        )
        if helps:
            self.ejections.release(board.stage.key)
        return helps

    def _decisions(
        self,
        stages: Sequence[RoutedStage],
        is_live: IsLive,
        now_s: float,
        query: RouteQuery,
        origin: Origin | None = None,
    ) -> Iterable[Decision]:
        origin = origin or self._home
        last = len(stages) - 1
        for hop, stage in enumerate(stages):
            decision = self._decide(self.board(stage, now_s), is_live, now_s, origin, query)
            yield decision
            if decision.index is None or hop == last:
                return
            replica = stage.replicas[decision.index]
            origin = Origin(replica.worker, replica.facts.locality)
            # Requests that are ahead here are ahead at later stages too: this one waits for them once.
            scores = decision.scores
            query = replace(
                query,
                remaining_s=inf
                if decision.pick.is_probe
                else query.remaining_s - scores.ready_s.item(decision.index),
                waited_s=max(query.waited_s, scores.wait_s.item(decision.index)),
                num_bytes=0.0,
            )

    def _only_route(
        self, stages: Sequence[RoutedStage], is_live: IsLive, now_s: float, query: RouteQuery
    ) -> Route | None:
        """Returns the route where every stage has one replica that passes every filter; None: run the whole policy.

        With a single route there is nothing to choose, and scoring would cost ten times as much.
        """
        if query.require or query.excluded or query.filters:
            return None
        latest_s = 0.0
        for stage in stages:
            if len(stage.replicas) != 1:
                return None
            board = self.board(stage, now_s)
            slot, worker = board.workers[0]
            if not is_live(worker) or not self.workers.up[slot] or board.ejecting_until_s > now_s:
                return None
            latest_s += self.workers.most_work_s(slot) + board.compute_s.item(0)
        return tuple(stage.replicas[0] for stage in stages) if latest_s <= query.remaining_s else None

    def _decide(
        self, board: StageBoard, is_live: IsLive, now_s: float, origin: Origin, query: RouteQuery
    ) -> Decision:
        refreshed_s = self._refreshed_s[board.stage.key]
        if len(board.replicas) <= _ALWAYS_REFRESHED or now_s - refreshed_s >= _REFRESH_S:
            self._refresh_liveness(board, is_live, now_s)
        decision = self._choose(board, now_s, origin, query)
        if decision.index is not None and not is_live(board.replicas[decision.index].worker):
            self._refresh_liveness(board, is_live, now_s)
            decision = self._choose(board, now_s, origin, query)
        return decision

    def _choose(self, board: StageBoard, now_s: float, origin: Origin, query: RouteQuery) -> Decision:
        return choose_replica(
            board,
            self.workers,
            self.network,
            origin=origin,
            query=query,
            settings=self.settings,
            rng=self._rng,
            now_s=now_s,
        )

    def _refresh_liveness(self, board: StageBoard, is_live: IsLive, now_s: float) -> None:
        self._refreshed_s[board.stage.key] = now_s
        live = self.workers.live
        for slot, worker in board.workers:
            if live[slot] is not (now_live := is_live(worker)):
                self.workers.set_live(slot, now_live)
