"""From what is desired and what is held to commands and a route table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import REASONS, MeshError, from_reason
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.latest import Latest
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Partition
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.traffic_splits import TrafficSplits
from services.scheduler.desired.desired_stages import DesiredStage, DesiredStages, ModelKey, desired_stages
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.placement.moves import SETTLE_S, Move
from services.scheduler.placement.placement import Placement, decide_placement, missing
from services.scheduler.placement.rebalance import rebalanced
from services.scheduler.publishing.publisher import Publisher
from services.scheduler.route_table.routes import Routes, build_routes
from services.scheduler.workers.holdings import Held, HoldingState
from services.scheduler.workers.worker_view import WorkerView

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReconcileOutcome:
    """What the last reconciliation found.

    Attributes:
        placement: Who serves what.
        failures: Deployments on probation that cannot be served, and why.
        published: Models that are in the route table.
    """

    placement: Placement = field(default_factory=lambda: Placement({}))
    failures: Mapping[ModelKey, MeshError] = field(default_factory=dict)
    published: frozenset[ModelKey] = frozenset()


class Reconciler:
    """Decides anew whenever something changed: table first, then commands. For one event loop.

    After a start it waits: workers that served an earlier scheduler come back within moments, and until then
    neither a new table nor a new placement would be to anyone's good.

    Args:
        catalogue: What is desired.
        fleet: What is held.
        publisher: Is given the route table.
        splits: How versions share traffic.
        address: Where workers fetch blobs from this scheduler.
        settle_s: How long to wait at most for the workers that hold what was deployed before.
        move_after_s: Nothing moves to a worker that has been there for less.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        fleet: Fleet,
        publisher: Publisher,
        splits: TrafficSplits,
        address: str,
        *,
        settle_s: float = 3.0,
        move_after_s: float = SETTLE_S,
        clock: Clock = monotonic,
    ) -> None:
        self._catalogue = catalogue
        self._fleet = fleet
        self._publisher = publisher
        self._splits = splits
        self._sources = [address]
        self._move_after_s = move_after_s
        self._desired = DesiredStages()
        self._clock = clock
        # What was deployed before has been in a table before: it stays there, complete or not.
        self._routes = Routes(published=frozenset(catalogue.deployments))
        self._failures: dict[ModelKey, MeshError] = {}
        self._settled = not catalogue.deployments
        self._settle_at_s = clock() + settle_s
        self._outcome = Latest(ReconcileOutcome())
        self._rebalancing = False
        fleet.on_change(self.reconcile)

    @property
    def outcome(self) -> Latest[ReconcileOutcome]:
        """What the last reconciliation found, and the way to wait for the next."""
        return self._outcome

    async def run(self) -> None:
        """Decides once, and again when time alone changes something, until it is cancelled."""
        self.reconcile()
        while True:
            try:
                async with asyncio.timeout(self._idle_s()):
                    await self._outcome.after(self._outcome.revision)
            except TimeoutError:
                self.reconcile()

    def reconcile(self) -> None:
        """Decides what is to be done now, publishes the routes and sends the commands."""
        self._collect_failures()
        served, loaded = self._served_and_loaded()
        desired = self._desired.of(loaded)
        self._fleet.remove_failures({stage.key for stage in desired})
        views = self._fleet.views()
        placement = decide_placement(
            desired, views, self._clock(), rebalance=self._rebalancing, settle_s=self._move_after_s
        )
        self._rebalancing = self._rebalancing and not _is_quiet(placement, views)
        if self._is_settled(desired, placement):
            self._publish(served, placement, views)
            self._command(placement, loaded)
        self._outcome.set(ReconcileOutcome(placement, dict(self._failures), self._routes.published))

    def rebalance(self) -> None:
        """Moves stages to where they would be placed today, from now until nothing more is to be moved."""
        self._rebalancing = True
        self.reconcile()

    async def rebalanced(self) -> None:
        """Returns once no rebalance is under way."""
        while self._rebalancing:
            await self._outcome.after(self._outcome.revision)

    def moves(self) -> tuple[Move, ...]:
        """Returns what a rebalance would move now."""
        _, loaded = self._served_and_loaded()
        return rebalanced(self._desired.of(loaded), self._fleet.views(), self._clock())

    def _served_and_loaded(self) -> tuple[list[Deployment], list[Deployment]]:
        """Returns the deployments that gateways are told of, and all that are to be loaded."""
        served = {
            key: deployment
            for key, deployment in self._catalogue.deployments.items()
            if key not in self._failures
        }
        beside = [each for key, each in self._catalogue.standby.items() if key in served]
        return [*served.values()], [*served.values(), *beside]

    def _is_settled(self, desired: list[DesiredStage], placement: Placement) -> bool:
        if not self._settled:
            self._settled = self._clock() >= self._settle_at_s or not missing(desired, placement)
            if self._settled:
                _log.info("settled", missing=missing(desired, placement))
        return self._settled

    def _publish(self, served: list[Deployment], placement: Placement, views: Iterable[WorkerView]) -> None:
        workers = {id_: link.instance for id_, link in self._fleet.links.items()}
        leaving = {id_ for id_, link in self._fleet.links.items() if link.leaving}
        # One that only lets its last stage go has been sent requests, too.
        leaving |= {order.worker for order in placement.evict}
        leaving |= {view.id for view in views if _holds_any(view, HoldingState.EVICTING)}
        self._routes = build_routes(
            served,
            placement.routed,
            workers,
            self._routes,
            leaving=leaving,
            percents=self._splits.shares(),
        )
        self._publisher.publish(self._routes.models, self._routes.workers)

    def _command(self, placement: Placement, loaded: Iterable[Deployment]) -> None:
        for order in placement.evict:
            self._fleet.links[order.worker].evict(order.stage)
        partitions = _partitions(loaded) if placement.place else {}
        for order in placement.place:
            self._fleet.links[order.worker].place(order.stage, partitions[order.stage], self._sources)
        for id_ in placement.departing:
            self._fleet.links[id_].depart()

    def _collect_failures(self) -> None:
        """Finds the deployments on probation that a worker refused for good."""
        deployments = self._catalogue.deployments
        self._failures = {key: error for key, error in self._failures.items() if key in deployments}
        for key in self._catalogue.probation - self._failures.keys():
            if (error := self.refusal(deployments[key])) is not None:
                self._failures[key] = error

    def refusal(self, deployment: Deployment) -> MeshError | None:
        """Returns why a worker will not hold a stage of a deployment, if no other can be expected to either."""
        for stage in desired_stages(deployment):
            for id_, link in self._fleet.links.items():
                if (error := _refusal(stage, id_, link.holdings.stages.get(stage.key))) is not None:
                    return error
        return None

    def _idle_s(self) -> float | None:
        """Returns the seconds after which to decide again though nothing happened."""
        times = [] if self._settled else [self._settle_at_s]
        retry_s = self._outcome.value.placement.retry_s
        if retry_s is not None:
            times.append(retry_s)
        return max(0.0, min(times) - self._clock()) if times else None


def _is_quiet(placement: Placement, workers: Iterable[WorkerView]) -> bool:
    """Whether nothing is under way and nothing is to be done."""
    passing = HoldingState.LOADING, HoldingState.EVICTING
    return not (placement.place or placement.evict or any(_holds_any(each, *passing) for each in workers))


def _holds_any(worker: WorkerView, *states: HoldingState) -> bool:
    return any(held.state in states for held in worker.stages.values())


def _partitions(loaded: Iterable[Deployment]) -> dict[StageKey, Partition]:
    return {
        stage.key: partition
        for deployment in loaded
        for stage, partition in zip(desired_stages(deployment), deployment.plan.partitions, strict=True)
    }


def _refusal(stage: DesiredStage, worker: WorkerId, held: Held | None) -> MeshError | None:
    """Returns why a worker will not hold a stage, if no other worker can be expected to either."""
    if held is None or held.state is not HoldingState.FAILED or held.digest != stage.digest:
        return None
    if held.reason in REASONS and REASONS[held.reason].retriable:
        return None
    return from_reason(held.reason, f"stage '{stage.key}' failed on worker '{worker}': {held.message}")
