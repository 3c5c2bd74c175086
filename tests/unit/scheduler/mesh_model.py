"""A mesh for a state machine: a registry, workers with commands on the wire, a scheduler's decisions and its routes.

The registry is the embedded one's (leases and stale entries), the routes are those that gateways get.
"""

from __future__ import annotations

from onnxmesh.discovery.lease_table import LeaseTable
from onnxmesh.discovery.stale_entries import without_stale_entries
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.v1.model_pb2 import Artefact, Partition, Plan, PlannedDevices
from onnxmesh.v1.worker_pb2 import StageFailed, StageLoaded
from services.scheduler.desired.desired_stages import desired_stages
from services.scheduler.placement.placement import Placement, decide_placement
from services.scheduler.route_table.routes import Routes, build_routes
from services.scheduler.workers.eligibility import can_run
from services.scheduler.workers.holdings import Holdings
from services.scheduler.workers.worker_view import WorkerView

SILENCE_S = 3.0


class Process:
    """One start of a worker: what it holds, and the commands on the wire to it."""

    def __init__(self, instance, memory):
        self.instance = instance
        self.memory = memory
        self.token = 0
        self.lives = True
        self.leaving = False
        self.real = {}
        self.wire = []


class Link:
    """The scheduler's view of a process, whose stream is open or lost."""

    def __init__(self, process, now_s):
        self.process = process
        self.since_s = now_s
        self.connected = process.lives
        self.seen = Holdings()
        self.seen.rebuild(StageLoaded(stage=key, digest=digest) for key, digest in process.real.items())

    def view(self):
        instance = self.process.instance
        return WorkerView(
            WorkerId(instance.id),
            frozenset(instance.tags),
            instance.attributes,
            self.seen.stages,
            leaving=self.process.leaving,
            since_s=self.since_s,
        )


class MeshModel:
    """Processes, what the scheduler knows of them, and the invariants; time passes by `pass_time` alone."""

    def __init__(self):
        self.now_s = 0.0
        self.generation = 0
        self.made = 0
        self.leases = LeaseTable(SILENCE_S)
        self.processes = []
        self.links = {}
        self.deployments = {}
        self.standby = {}
        self.rebalance = False
        self.placement = Placement({})
        self.routes = Routes()
        self.reconcile()

    def look(self):
        """Takes up what the registry shows."""
        instances = without_stale_entries(self.leases.instances.values())
        for id_, link in list(self.links.items()):
            if instances.get(id_) != link.process.instance:
                del self.links[id_]
        for id_, instance in instances.items():
            if id_ not in self.links:
                process = next(each for each in self.processes if each.instance == instance)
                self.links[WorkerId(id_)] = Link(process, self.now_s)
        self.reconcile()

    def reconcile(self):
        before, deployed = self.routes, self.desired()
        views = [link.view() for link in self.links.values() if link.connected]
        self.placement = decide_placement(deployed, views, self.now_s, rebalance=self.rebalance)
        instances = {id_: link.process.instance for id_, link in self.links.items()}
        self.routes = build_routes(self.deployments.values(), self.placement.routed, instances, before)
        self.check_memory()
        self.check_kept(before)
        digests = {stage.key: stage.digest for stage in deployed}
        for command in self.placement.evict:
            self.links[command.worker].seen.evicting(command.stage)
            self.links[command.worker].process.wire.append(("evict", command.stage, ""))
        for command in self.placement.place:
            link = self.links[command.worker]
            assert not link.process.leaving, "a leaving worker is given something"
            assert command.stage not in link.process.real, "a worker is given what it holds"
            link.seen.placing(command.stage, digests[command.stage])
            link.process.wire.append(("place", command.stage, digests[command.stage]))

    def handle(self, process, *, fails=False):
        link = self.links.get(WorkerId(process.instance.id))
        command, stage, digest = process.wire.pop(0)
        if command == "evict":
            process.real.pop(stage, None)
        elif not fails:
            process.real[stage] = digest
        if link is None or link.process is not process:
            return
        if command == "evict":
            link.seen.evicted(stage)
        elif fails:
            link.seen.failed(StageFailed(stage=stage, reason="UNAVAILABLE"), self.now_s)
        else:
            link.seen.loaded(StageLoaded(stage=stage, digest=digest))
        self.reconcile()

    # What must hold.

    def validate(self):
        """No ghost, nothing twice, nothing that its worker does not serve."""
        registered = self.leases.instances
        for stage in self.routed_stages():
            workers = [replica.worker for replica in stage.replicas]
            assert len(set(workers)) == len(workers)
            for replica in stage.replicas:
                assert registered[replica.worker].generation == replica.generation, "a ghost is routed to"
                assert StageKey(stage.stage) in self.links[replica.worker].process.real, (
                    "a stage that is not there"
                )
        for command in self.placement.evict:
            assert command.worker not in self.placement.routed.get(command.stage, ())
        leaving = {id_ for id_, link in self.links.items() if link.connected and link.process.leaving}
        assert set(self.placement.departing) <= leaving
        for id_ in self.placement.departing:
            others = [
                each
                for each, link in self.links.items()
                if each != id_ and link.connected and each not in leaving
            ]
            for key, held in self.links[id_].seen.stages.items():
                if held.counts:
                    assert not set(self.placement.routed[key]) & set(others), "another worker could hold it"

    def check_kept(self, before):
        """A stage that was routed is routed for as long as any of its replicas is there."""
        now = {stage.stage: stage for stage in self.routed_stages()}
        contents = {stage.key: stage.digest for stage in self.desired()}
        for model in before.models.values():
            if model.name not in self.deployments:
                continue
            for stage in model.stages:
                there = [
                    replica
                    for replica in stage.replicas
                    if (link := self.links.get(WorkerId(replica.worker))) is not None
                    and link.connected
                    and link.process.instance.generation == replica.generation
                    and link.process.real.get(StageKey(stage.stage)) == contents.get(StageKey(stage.stage))
                ]
                if there and stage.stage in now:
                    assert now[stage.stage].replicas, (
                        f"{stage.stage} was served by {there}, and is by no worker"
                    )
        for model in self.routes.models.values():
            old = next((each for each in before.models.values() if each.name == model.name), None)
            if old is not None and old.stages[0].stage != model.stages[0].stage:
                assert all(stage.replicas for stage in model.stages), "changed over to an incomplete plan"

    def check_memory(self):
        """No worker is commanded to load more than it has memory for."""
        peak = {stage.key: stage.peak_bytes for stage in self.desired()}
        for id_ in {command.worker for command in self.placement.place}:
            link = self.links[id_]
            removed = {command.stage for command in self.placement.evict if command.worker == id_}
            kept = {key for key, held in link.seen.stages.items() if held.counts and key not in removed}
            kept |= {command.stage for command in self.placement.place if command.worker == id_}
            if link.process.memory is not None:
                assert sum(peak.get(key, 0) for key in kept) <= link.process.memory

    def check_rest(self):
        assert not self.placement.moves
        desired = {stage.key: stage for stage in self.desired()}
        staying = {id_: link.process for id_, link in self.links.items() if not link.process.leaving}
        for key, stage in desired.items():
            routed = set(self.placement.routed[key])
            able = {
                id_
                for id_, process in staying.items()
                if can_run(stage.require, "", process.instance.tags, process.instance.attributes)
                and (id_ in routed or self.headroom(process, desired) >= stage.peak_bytes)
            }
            assert len(routed & staying.keys()) == min(stage.replicas, len(able))
            assert not (routed - staying.keys() and routed & staying.keys()), (
                "a leaving worker is still needed"
            )
        for id_, link in self.links.items():
            assert all(id_ in self.placement.routed.get(key, ()) for key in link.process.real), (
                "a ghost is held"
            )
        leaving = sorted(self.links.keys() - staying.keys())
        assert list(self.placement.departing) == leaving

    # Small things.

    def desired(self):
        plans = [*self.deployments.values(), *self.standby.values()]
        return [stage for deployment in plans for stage in desired_stages(deployment)]

    def routed_stages(self):
        return [stage for model in self.routes.models.values() for stage in model.stages]

    def plan(self, revision, num, peak_bytes, homes):
        self.made += 1
        devices = [PlannedDevices(kind=kind, count=1) for kind in homes]
        partitions = [
            Partition(
                index=index,
                artefact=Artefact(digest=f"{self.made}.{index}"),
                peak_bytes=peak_bytes,
                devices=devices,
            )
            for index in range(num)
        ]
        return Plan(partitions=partitions, revision=revision)

    def headroom(self, process, desired):
        if process.memory is None:
            return 100
        return process.memory - sum(desired[key].peak_bytes for key in process.real)

    def pass_time(self, seconds, num_steps=5):
        """Live processes send heartbeats; those without are removed after the time-out."""
        for _ in range(num_steps):
            self.now_s += seconds / num_steps
            for process in self.processes:
                if process.lives:
                    self.leases.renew(process.instance.id, process.token, self.now_s)
            self.leases.expire(self.now_s)
        self.look()
