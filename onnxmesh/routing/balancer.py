"""Routes for requests, and what becomes of them: the policy with its memory.

Each gateway has one of its own, and feeds it what its workers report and how its requests end.
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
from onnxmesh.routing.route_query import ANY, RouteQuery
from onnxmesh.routing.stage_board import Origin, StageBoard
from onnxmesh.routing.table.random_source import RandomSource
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from onnxmesh.routing.worker_board import WorkerBoard

Route = tuple[Replica, ...]
"""One replica for each stage, in the order of the pipeline."""

IsLive = Callable[[WorkerId], bool]
"""Whether frames can be sent to a worker."""

_ALWAYS_ASKED = 64
"""Of a stage with no more replicas each worker's liveness is looked up at every decision."""

_ASK_AGAIN_S = 0.05
"""Of a larger one it is looked up this often, and when a pick turns out dead."""


@dataclass(frozen=True, slots=True)
class Booking:
    """A request's place on the board of one worker.

    Attributes:
        stage: What it runs there.
        slot: The worker's place on the board.
        work_s: What it was expected to be.
        ahead_s: Work of the same chooser that was there before it.
    """

    stage: StageKey
    slot: int
    work_s: float
    ahead_s: float


Ticket = tuple[Booking, ...]
"""A request's bookings, one for each stage of its route."""


class Balancer:
    """Chooses routes. Belongs to one event loop. Pure: clock and random are given.

    Attributes:
        settings: The figures that it goes by.
        workers: What is known of workers.
        network: What is known of the ways between processes.
        ejections: Who is kept out of routes.

    Args:
        home: The gateway and where it is.
        rng: Draws.
        settings: The figures to go by.
    """

    def __init__(self, home: Origin, rng: RandomSource, settings: PolicySettings = DEFAULT_SETTINGS) -> None:
        self._home = home
        self._rng = rng
        self.settings = settings
        self._stages: dict[StageKey, StageBoard] = {}
        self._asked_s: dict[StageKey, float] = {}
        self.workers = WorkerBoard()
        self.network = Network()
        self.ejections = Ejections(self._stages)

    def forget(self, stages: Iterable[StageKey], workers: Iterable[WorkerId]) -> None:
        """Forgets stages and workers that are gone; what is in flight on them must be ended, or is never."""
        for key in stages:
            self._stages.pop(key, None)
            self._asked_s.pop(key, None)
        for worker in workers:
            self.workers.drop(worker)
            self.network.forget(worker)

    def num_ejected(self, now_s: float) -> int:
        """Replicas that are ejected now. May be asked from any thread."""
        boards = list(self._stages.values())
        return sum(int((board.ejected_until_s > now_s).sum()) for board in boards)

    def board(self, stage: RoutedStage, now_s: float) -> StageBoard:
        """Returns what is known of a stage's replicas, which may have changed since."""
        board = self._stages.get(stage.key)
        if board is not None and board.stage is not stage and board.stage.replicas == stage.replicas:
            board.stage = stage  # so that the next look is short
        elif board is None or board.stage is not stage:
            board = StageBoard(stage, self.workers, self.settings, now_s, board)
            self._stages[stage.key] = board
            self._asked_s[stage.key] = -inf
        return board

    def pick_route(
        self, stages: Sequence[RoutedStage], is_live: IsLive, now_s: float, ask: RouteQuery = ANY
    ) -> Route | NoRoute:
        """Returns a route over live workers, or the stage that has none for the request.

        Args:
            stages: The model's stages.
            is_live: Tells whether a worker can be sent to.
            now_s: The time.
            ask: What the request wants; `num_bytes` is what is sent to the first stage.
        """
        if (only := self._only_route(stages, is_live, now_s, ask)) is not None:
            return only
        route: list[Replica] = []
        for index, decision in enumerate(self._decisions(stages, is_live, now_s, ask)):
            if decision.index is None:
                return NoRoute(index, decision)
            route.append(decision.stage.replicas[decision.index])
        return tuple(route)

    def explain(
        self,
        stages: Sequence[RoutedStage],
        is_live: IsLive,
        now_s: float,
        ask: RouteQuery = ANY,
        origin: Origin | None = None,
    ) -> list[Explanation]:
        """Makes the decisions that `pick_route` would, and says why; up to the first without a pick.

        Args:
            stages: The model's stages.
            is_live: Tells whether a worker can be sent to.
            now_s: The time.
            ask: What a request would want.
            origin: Where it would come from; None: from home.
        """
        return [
            explain_route(decision, self.workers, now_s)
            for decision in self._decisions(stages, is_live, now_s, ask, origin)
        ]

    def begin(self, stages: Sequence[RoutedStage], route: Route, now_s: float) -> Ticket:
        """Takes that a request sets out on a route; end its ticket whatever becomes of it."""
        hops = []
        for stage, replica in zip(stages, route, strict=True):
            board = self.board(stage, now_s)
            index = board.index(replica.worker)
            if index is not None:
                slot = board.places[index][0]
                ahead_s = min(self.workers.own_s.item(slot), self.workers.own_there_s.item(slot))
                hops.append(Booking(stage.key, slot, board.compute_s.item(index), ahead_s))
        for booking in hops:
            self.workers.begin(booking.slot, booking.work_s)
        return tuple(hops)

    def end(self, ticket: Ticket) -> None:
        """Takes that a request is over."""
        for booking in ticket:
            self.workers.end(booking.slot, booking.work_s)

    def waited(self, ticket: Ticket, stage: StageKey, wait_s: float) -> None:
        """Takes how long an answered request waited at one hop, before its ticket ends."""
        for booking in ticket:
            if booking.stage == stage:
                self.workers.waited(booking.slot, wait_s, booking.ahead_s)

    def answered(self, stage: StageKey, worker: WorkerId, compute_s: float, now_s: float) -> float | None:
        """Takes how long one hop of an answered request ran.

        Returns:
            Until when this ejects the replica, None if it does not.
        """
        board = self._stages.get(stage)
        index = None if board is None else board.index(worker)
        if board is None or index is None:
            return None
        board.measured(index, compute_s)
        until_s = board.outliers.answered(worker, compute_s, now_s)
        if until_s is not None:
            self.ejections.eject(stage, worker, until_s)
        return until_s

    def failed(self, worker: WorkerId, stages: Iterable[StageKey], now_s: float) -> dict[StageKey, float]:
        """Takes a failure that is a worker's fault, of a request over these stages; returns which are ejected there."""
        ejected = {}
        for key in stages:
            board = self._stages.get(key)
            index = None if board is None else board.index(worker)
            if board is None or index is None:
                continue
            until_s = board.outliers.failed(worker, now_s)
            if until_s is not None:
                self.ejections.eject(key, worker, until_s)
                ejected[key] = until_s
        return ejected

    def report(
        self, worker: WorkerId, work_s: float, compute_s: Mapping[StageKey, float], now_s: float
    ) -> None:
        """Takes a worker's report: all its work, and what a request computes there on average, by stage."""
        self.workers.report(worker, work_s, now_s)
        for key, mean_s in compute_s.items():
            board = self._stages.get(key)
            index = None if board is None else board.index(worker)
            if board is not None and index is not None and mean_s > 0.0:
                board.measured(index, mean_s)

    def lost(self, worker: WorkerId) -> None:
        """Takes that the stream to a worker broke; what it reported is void."""
        slot = self.workers.slot(worker)
        self.workers.set_live(slot, False)
        self.workers.set_silent(slot, False)

    def silent(self, worker: WorkerId, silent: bool) -> None:
        """Takes that a worker says nothing where it should, or is heard again; others go first meanwhile."""
        self.workers.set_silent(self.workers.slot(worker), silent)

    def release(self, found: NoRoute, now_s: float) -> bool:
        """Ends every ejection of a stage where a request found nobody else; returns whether that helps the request."""
        board, ask = found.decision.stage, found.decision.ask
        ejected = found.decision.up & (board.ejected_until_s > now_s)
        if ask.require:
            ejected &= board.selected(ask.require)
        helps = any(
            board.replicas[index].worker not in ask.excluded for index in ejected.nonzero()[0].tolist()
        )
        if helps:
            self.ejections.release(board.stage.key)
        return helps

    def _decisions(
        self,
        stages: Sequence[RoutedStage],
        is_live: IsLive,
        now_s: float,
        ask: RouteQuery,
        origin: Origin | None = None,
    ) -> Iterable[Decision]:
        origin = origin or self._home
        last = len(stages) - 1
        for hop, stage in enumerate(stages):
            decision = self._decide(self.board(stage, now_s), is_live, now_s, origin, ask)
            yield decision
            if decision.index is None or hop == last:
                return
            replica = stage.replicas[decision.index]
            origin = Origin(replica.worker, replica.facts.locality)
            # Requests that are ahead here are ahead at later stages too: one waits for them once.
            ask = replace(
                ask,
                remaining_s=inf
                if decision.probe
                else ask.remaining_s - decision.ready_s.item(decision.index),
                waited_s=max(ask.waited_s, decision.wait_s.item(decision.index)),
                num_bytes=0.0,
            )

    def _only_route(
        self, stages: Sequence[RoutedStage], is_live: IsLive, now_s: float, ask: RouteQuery
    ) -> Route | None:
        """Returns the route where every stage has one replica and nothing speaks against any; None: it must be looked at.

        Then there is nothing to choose, and to weigh it all up would cost ten times as much.
        """
        if ask.require or ask.excluded or ask.bars:
            return None
        latest_s = 0.0
        for stage in stages:
            if len(stage.replicas) != 1:
                return None
            board = self.board(stage, now_s)
            slot, worker = board.places[0]
            if not is_live(worker) or not self.workers.up[slot] or board.ejecting_until_s > now_s:
                return None
            latest_s += self.workers.most_work_s(slot) + board.compute_s.item(0)
        return tuple(stage.replicas[0] for stage in stages) if latest_s <= ask.remaining_s else None

    def _decide(
        self, board: StageBoard, is_live: IsLive, now_s: float, origin: Origin, ask: RouteQuery
    ) -> Decision:
        asked_s = self._asked_s[board.stage.key]
        if len(board.replicas) <= _ALWAYS_ASKED or now_s - asked_s >= _ASK_AGAIN_S:
            self._look_up(board, is_live, now_s)
        decision = self._decided(board, now_s, origin, ask)
        if decision.index is not None and not is_live(board.replicas[decision.index].worker):
            self._look_up(board, is_live, now_s)
            decision = self._decided(board, now_s, origin, ask)
        return decision

    def _decided(self, board: StageBoard, now_s: float, origin: Origin, ask: RouteQuery) -> Decision:
        return choose_replica(board, self.workers, self.network, origin, ask, self.settings, self._rng, now_s)

    def _look_up(self, board: StageBoard, is_live: IsLive, now_s: float) -> None:
        self._asked_s[board.stage.key] = now_s
        live = self.workers.live
        for slot, worker in board.places:
            if live[slot] is not (now_live := is_live(worker)):
                self.workers.set_live(slot, now_live)
