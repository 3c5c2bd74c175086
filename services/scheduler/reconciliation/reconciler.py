"""The reconciler: desired and held stages in, route table and commands to workers out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import TypeVar

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError
from onnxmesh.ids import ModelKey, StageKey
from onnxmesh.latest import Latest
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Partition
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.traffic_splits import TrafficSplits
from services.scheduler.desired.desired_stages import DesiredStage, DesiredStages, desired_stages
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.placement.moves import SETTLE_S, Move
from services.scheduler.placement.placement import Placement, decide_placement, missing
from services.scheduler.placement.rebalance import rebalanced
from services.scheduler.publishing.publisher import Publisher
from services.scheduler.reconciliation.goal import Goal
from services.scheduler.reconciliation.reconcile_outcome import ReconcileOutcome
from services.scheduler.reconciliation.refusal import find_refusal
from services.scheduler.route_table.routes import Routes, build_routes
from services.scheduler.workers.holdings import HoldingState
from services.scheduler.workers.worker_view import WorkerView

R = TypeVar("R")

_log = structlog.get_logger(__name__)


class Reconciler:
    """Decides again whenever something changed: first the route table, then the commands. For one event loop.

    After a start it publishes and commands nothing until the stages that were deployed before are held again, or
    `settle_s` has passed: workers that served an earlier scheduler reconnect within moments.

    Args:
        catalogue: What is deployed.
        fleet: The workers and what they hold.
        publisher: Publishes the route table.
        splits: How versions share traffic.
        address: Where workers fetch blobs from this scheduler.
        settle_s: Longest wait after a start for the workers that hold what was deployed before.
        move_after_s: No stage moves to a worker that joined more recently than this.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        fleet: Fleet,
        publisher: Publisher,
        *,
        splits: TrafficSplits,
        address: str,
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
        # What was deployed before has been in a route table before: it stays there, complete or not.
        self._routes = Routes(published=frozenset(catalogue.deployments))
        self._failures: dict[ModelKey, MeshError] = {}
        self._settled = not catalogue.deployments
        self._settle_at_s = clock() + settle_s
        self._outcome = Latest(ReconcileOutcome())
        self._rebalancing = False
        fleet.on_change(self.reconcile)

    @property
    def outcome(self) -> Latest[ReconcileOutcome]:
        """The newest outcome, and how to wait for the next one."""
        return self._outcome

    async def run(self) -> None:
        """Reconciles once, and again whenever a decision may change without an event, until it is cancelled."""
        self.reconcile()
        while True:
            try:
                async with asyncio.timeout(self._idle_s()):
                    await self._outcome.after(self._outcome.revision)
            except TimeoutError:
                self.reconcile()

    async def until(self, goal: Goal[R], report: Callable[[R], Awaitable[None]] | None = None) -> None:
        """Returns once a goal is reached.

        Args:
            goal: Checked now and after every reconciliation.
            report: Called with what remains, each time that it differs from what was reported last.

        Raises:
            MeshError: The goal cannot be reached any more.
        """
        revision, reported = 0, None
        while True:
            revision, outcome = await self._outcome.after(revision)
            remaining = goal.remaining(outcome)
            if remaining is None:
                return
            if report is not None and remaining != reported:
                await report(remaining)
                reported = remaining

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
        self._outcome.set(
            ReconcileOutcome(placement, dict(self._failures), self._routes.published, self._rebalancing)
        )

    def rebalance(self) -> None:
        """Starts to move stages to where they would be placed today, until there is nothing to move."""
        self._rebalancing = True
        self.reconcile()

    def moves(self) -> tuple[Move, ...]:
        """Returns what a rebalance would move now."""
        _, loaded = self._served_and_loaded()
        return rebalanced(self._desired.of(loaded), self._fleet.views(), self._clock())

    def refusal(self, deployment: Deployment) -> MeshError | None:
        """Returns why a worker refuses a stage of a deployment for good; None: no worker does."""
        return find_refusal(desired_stages(deployment), self._fleet.holdings())

    def _served_and_loaded(self) -> tuple[list[Deployment], list[Deployment]]:
        """Returns the deployments that gateways are to know, and all that are to be loaded."""
        served = {
            key: deployment
            for key, deployment in self._catalogue.deployments.items()
            if key not in self._failures
        }
        standby = [each for key, each in self._catalogue.standby.items() if key in served]
        return [*served.values()], [*served.values(), *standby]

    def _is_settled(self, desired: list[DesiredStage], placement: Placement) -> bool:
        if not self._settled:
            lacking = missing(desired, placement)
            self._settled = self._clock() >= self._settle_at_s or not lacking
            if self._settled:
                _log.info("settled", missing=lacking)
        return self._settled

    def _publish(self, served: list[Deployment], placement: Placement, views: Iterable[WorkerView]) -> None:
        workers = {id_: stream.instance for id_, stream in self._fleet.streams.items()}
        leaving = {id_ for id_, stream in self._fleet.streams.items() if stream.leaving}
        # A worker that is evicting its last stage was sent requests a moment ago, too.
        leaving |= {command.worker for command in placement.evict}
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
        for command in placement.evict:
            self._fleet.streams[command.worker].evict(command.stage)
        partitions = _partitions(loaded) if placement.place else {}
        for command in placement.place:
            self._fleet.streams[command.worker].place(command.stage, partitions[command.stage], self._sources)
        for id_ in placement.departing:
            self._fleet.streams[id_].depart()

    def _collect_failures(self) -> None:
        """Finds the deployments on probation of which a worker refused a stage for good."""
        deployments = self._catalogue.deployments
        self._failures = {key: error for key, error in self._failures.items() if key in deployments}
        for key in self._catalogue.probation - self._failures.keys():
            if (error := self.refusal(deployments[key])) is not None:
                self._failures[key] = error

    def _idle_s(self) -> float | None:
        """Returns after how many seconds to reconcile though nothing changed; None: not at all."""
        times = [] if self._settled else [self._settle_at_s]
        retry_s = self._outcome.value.placement.retry_s
        if retry_s is not None:
            times.append(retry_s)
        return max(0.0, min(times) - self._clock()) if times else None


def _is_quiet(placement: Placement, workers: Iterable[WorkerView]) -> bool:
    """Whether no stage is being loaded or evicted, or about to be."""
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
