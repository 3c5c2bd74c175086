"""A scheduler in virtual time: the decisions of `services.scheduler`, carried out after the time of commands and loading."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import inf
from statistics import fmean

import simpy

from benchmarks.simulate.fleet import Fleet, Worker, facts_of, worker_id
from benchmarks.simulate.scenario import ACTIVATION_BYTES, CROSS_ZONE_S, KINDS, Scenario
from onnxmesh.ids import Digest, ModelName, StageKey, Version, WorkerId, stage_key
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from onnxmesh.v1.worker_pb2 import StageLoaded
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.placement import Placement, decide_placement
from services.scheduler.workers.holdings import Holdings, HoldingState
from services.scheduler.workers.worker_view import WorkerView, coarse_wait_s

NOTICED_S = 3.0
"""Time after which a dead worker is removed: the heartbeat time-out of the embedded registry."""

LOAD_S = 0.2
"""Time to load a stage."""

PUBLISHED_S = 0.005
"""Time until every gateway has a new route table."""

_DIGEST = Digest("d")


@dataclass(frozen=True, slots=True)
class Table:
    """The route table of gateways.

    Attributes:
        epoch: Grows with every change.
        stages: The model's stages.
        removed: Workers that left the mesh since the table before.
    """

    epoch: int
    stages: tuple[RoutedStage, ...]
    removed: frozenset[WorkerId] = frozenset()


class Scheduler:
    """Places the model's stages, at once before anything begins, later as workers die, leave and join.

    Args:
        env: Virtual time.
        fleet: The workers.
        desired: The stages.
        publish_to: Called with every new table, when gateways get it.

    Attributes:
        placement: What was decided last.
        table: The newest route table, which gateways have or are about to get.
    """

    def __init__(
        self,
        env: simpy.Environment,
        fleet: Fleet,
        desired: tuple[DesiredStage, ...],
        publish_to: Callable[[Table], None],
    ) -> None:
        self._env = env
        self._fleet = fleet
        self._desired = desired
        self._publish_to = publish_to
        self._members = {worker.id: _Member(worker, -inf, env.event()) for worker in fleet.workers}
        self.placement = Placement(first_placement(len(fleet.workers), desired))
        for key, ids in self.placement.routed.items():
            for id_ in ids:
                self._members[id_].loaded(key)
        self.table = Table(1, self._stages(self.placement.routed))
        self._removed: set[WorkerId] = set()
        self._looks_s = inf

    def died(self, workers: Iterable[Worker]) -> None:
        """Records that workers died, which the scheduler notices later."""
        suspects = [self._members[worker.id] for worker in workers]

        def noticed() -> None:
            for member in suspects:
                self._drop(member)
            self._reconcile()

        self._fleet.later(NOTICED_S, noticed)

    def drain(self, worker: Worker) -> simpy.Event:
        """Empties a worker; the event comes when its process has ended."""
        member = self._members[worker.id]
        member.leaving = True
        self._reconcile()
        return member.ended

    def joined(self, worker: Worker) -> None:
        """Adds a worker that was restarted."""
        self._members[worker.id] = _Member(worker, self._env.now, self._env.event())
        self._reconcile()

    def _reconcile(self) -> None:
        views = [each.view() for each in self._members.values()]
        self.placement = decide_placement(self._desired, views, self._env.now)
        self._publish()
        for command in self.placement.evict:
            member = self._members[command.worker]
            member.holdings.evicting(command.stage)
            self._env.process(self._evict(member, command.stage))
        for command in self.placement.place:
            member = self._members[command.worker]
            member.holdings.placing(command.stage, _DIGEST)
            self._env.process(self._load(member, command.stage))
        for id_ in self.placement.departing:
            member = self._members[id_]
            if not member.departs:
                member.departs = True
                self._env.process(self._depart(member))
        self._look_again()

    def _evict(self, member: _Member, stage: StageKey) -> Generator[simpy.Event, None, None]:
        yield self._env.timeout(CROSS_ZONE_S)
        if member.is_there:
            yield from self._fleet.let_go(member.worker, stage)
        if member.is_there:
            member.holdings.evicted(stage)
            self._reconcile()

    def _load(self, member: _Member, stage: StageKey) -> Generator[simpy.Event, None, None]:
        yield self._env.timeout(CROSS_ZONE_S + LOAD_S)
        if member.is_there and member.is_loading(stage):
            member.loaded(stage)
            self._reconcile()

    def _depart(self, member: _Member) -> Generator[simpy.Event, None, None]:
        yield self._env.timeout(CROSS_ZONE_S)
        for stage in list(member.worker.held) if member.is_there else ():
            yield from self._fleet.let_go(member.worker, stage)
        if member.is_there:
            self._fleet.kill(member.worker)
            self._drop(member)
            self._reconcile()
            member.ended.succeed()

    def _drop(self, member: _Member) -> None:
        if self._members.get(member.worker.id) is member:
            del self._members[member.worker.id]
            self._removed.add(member.worker.id)

    def _look_again(self) -> None:
        """Decides again when time alone changes something."""
        retry_s = self.placement.retry_s
        if retry_s is None or retry_s >= self._looks_s:
            return
        self._looks_s = retry_s

        def look() -> None:
            if self._looks_s == retry_s:
                self._looks_s = inf
                self._reconcile()

        self._fleet.later(retry_s - self._env.now, look)

    def _publish(self) -> None:
        stages = self._stages(self.placement.routed)
        if stages == self.table.stages and not self._removed:
            return
        self.table = table = Table(self.table.epoch + 1, stages, frozenset(self._removed))
        self._removed.clear()
        self._fleet.later(PUBLISHED_S, lambda: self._publish_to(table))

    def _stages(self, routed: Mapping[StageKey, tuple[WorkerId, ...]]) -> tuple[RoutedStage, ...]:
        return tuple(
            RoutedStage(stage.key, tuple(self._members[id_].replica for id_ in routed[stage.key]))
            for stage in self._desired
        )


class _Member:
    """One start of a worker, as the scheduler knows it."""

    def __init__(self, worker: Worker, since_s: float, ended: simpy.Event) -> None:
        self.worker = worker
        self.ended = ended
        self.holdings = Holdings()
        self.leaving = self.departs = False
        self.replica = Replica(worker.id, f"{worker.id}:1", worker.generation, worker.facts)
        self._since_s = since_s

    @property
    def is_there(self) -> bool:
        """Whether the process still runs."""
        return self.worker.alive and self.worker.generation == self.replica.generation

    def is_loading(self, stage: StageKey) -> bool:
        """Whether a stage is still desired when it is loaded."""
        held = self.holdings.stages.get(stage)
        return held is not None and held.state is HoldingState.LOADING

    def loaded(self, stage: StageKey) -> None:
        """Serves a stage from now on."""
        self.worker.held.add(stage)
        self.holdings.loaded(StageLoaded(stage=stage, digest=_DIGEST))

    def view(self) -> WorkerView:
        """Returns the worker as a decision sees it."""
        return WorkerView(
            self.worker.id,
            attributes=self.worker.facts.attributes,
            stages=self.holdings.stages,
            leaving=self.leaving,
            since_s=self._since_s,
            wait_s=coarse_wait_s(self.worker.work_s),
        )


def stages_of(scenario: Scenario) -> tuple[DesiredStage, ...]:
    """Returns what is to be placed: the stages of one model."""
    return tuple(
        DesiredStage(
            key=stage_key(ModelName("model"), Version(1), index),
            model=(ModelName("model"), Version(1)),
            digest=_DIGEST,
            replicas=scenario.num_replicas,
            cost_s=fmean(KINDS.values()) / scenario.num_stages,
            sent_bytes=ACTIVATION_BYTES,
        )
        for index in range(scenario.num_stages)
    )


@cache
def first_placement(
    num_workers: int, desired: tuple[DesiredStage, ...]
) -> Mapping[StageKey, tuple[WorkerId, ...]]:
    """Returns who serves what once everything that is decided for empty workers is done; the same for every chooser."""
    holdings = {worker_id(index): Holdings() for index in range(num_workers)}
    attributes = {worker_id(index): facts.attributes for index, facts in enumerate(facts_of(num_workers))}
    while True:
        views = [
            WorkerView(id_, attributes=attributes[id_], stages=each.stages) for id_, each in holdings.items()
        ]
        placement = decide_placement(desired, views, 0.0)
        if not (placement.place or placement.evict):
            return placement.routed
        for command in placement.evict:
            holdings[command.worker].evicting(command.stage)
            holdings[command.worker].evicted(command.stage)
        for command in placement.place:
            holdings[command.worker].loaded(StageLoaded(stage=command.stage, digest=_DIGEST))
