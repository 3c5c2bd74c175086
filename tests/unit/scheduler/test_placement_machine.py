"""Registry, placement and routes together: whatever happens, `validate` holds after every step.

The registry is the embedded one's (leases, and what it takes for ghosts), the routes are those that gateways are told.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from onnxmesh.discovery.base import Instance
from onnxmesh.discovery.ghosts import without_ghosts
from onnxmesh.discovery.membership import Membership
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan, PlannedDevices
from onnxmesh.v1.worker_pb2 import StageFailed, StageLoaded
from services.scheduler.eligibility import can_run
from services.scheduler.holdings import Holdings
from services.scheduler.memory import RESERVE_BYTES
from services.scheduler.placement import Placement, decide, missing
from services.scheduler.routes import Routes, build_routes
from services.scheduler.wanted import wanted_stages
from services.scheduler.worker_view import WorkerView

SILENCE_S = 3.0
MAX_ROUNDS = 400

IDS = st.sampled_from([WorkerId(name) for name in "abcde"])
NAMES = st.sampled_from("mn")
ZONES = st.sampled_from(["x", "y"])
KINDS = st.sampled_from(["fast", "slow"])
MEMORY = st.sampled_from([None, 3, 6])
HOMES = st.sampled_from([(), ("x/fast",), ("x/fast", "y/slow 6 B")])


class Process:
    """One start of a worker: what it holds, and the commands that are on their way to it."""

    def __init__(self, instance, memory):
        self.instance = instance
        self.memory = memory
        self.token = 0
        self.lives = True
        self.leaving = False
        self.real = {}
        self.wire = []


class Link:
    """What the scheduler knows of a process; its stream is there or lost."""

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


class MeshMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now_s = 0.0
        self.generation = 0
        self.made = 0
        self.members = Membership(SILENCE_S)
        self.processes = []
        self.links = {}
        self.deployments = {}
        self.beside = {}
        self.rebalance = False
        self.placement = Placement({})
        self.routes = Routes()
        self.reconcile()

    @initialize(
        workers=st.lists(st.tuples(ZONES, st.booleans(), KINDS, MEMORY), min_size=2, max_size=5),
        num=st.integers(1, 3),
        replicas=st.integers(1, 2),
    )
    def begin(self, workers, num, replicas):
        """A mesh that serves something."""
        for id_, facts in zip("abcde", workers, strict=False):
            self.start(WorkerId(id_), *facts)
        self.deploy("m", num, replicas, gpu=False, peak_bytes=1, homes=())

    # What happens to workers.

    @rule(id_=IDS, zone=ZONES, tagged=st.booleans(), kind=KINDS, memory=MEMORY)
    def start(self, id_, zone, tagged, kind, memory):
        """A worker comes, or comes back: under the same id and address, as another generation."""
        if any(each.lives and each.instance.id == id_ for each in self.processes):
            return
        self.generation += 1
        attributes = {"zone": zone, "device.kind": kind}
        if memory is not None:
            attributes["memory.bytes"] = str(memory + RESERVE_BYTES)
        tags = ("gpu",) if tagged else ()
        process = Process(Instance(id_, "worker", f"{id_}:1", self.generation, tags, attributes), memory)
        process.token = self.members.join(process.instance, self.now_s)
        self.processes.append(process)
        self.look()

    @rule(data=st.data(), silently=st.booleans())
    @precondition(lambda self: sum(each.lives for each in self.processes) > 1)
    def die(self, data, silently):
        """Its stream breaks and its lease ends; or neither, until it has been silent for too long."""
        process = self.any_alive(data)
        process.lives = False
        if not silently:
            self.members.leave(process.instance.id, process.token)
            self.look()

    @rule(data=st.data(), undo=st.booleans())
    @precondition(lambda self: any(each.lives for each in self.processes))
    def drain(self, data, undo):
        self.any_alive(data).leaving = not undo
        self.reconcile()

    @rule(seconds=st.sampled_from([1.0, 5.0]))
    def wait(self, seconds):
        self.pass_time(seconds)

    @rule(data=st.data(), fails=st.booleans())
    @precondition(lambda self: any(each.lives and each.wire for each in self.processes))
    def work(self, data, fails):
        """A command arrives, late or not, is carried out or fails, and the scheduler hears of it."""
        busy = [each for each in self.processes if each.lives and each.wire]
        self.obey(busy[data.draw(st.integers(0, len(busy) - 1))], fails=fails)

    @rule()
    def restart_scheduler(self):
        """Another one asks everybody what they hold; commands of the one before are refused."""
        for process in self.processes:
            process.wire.clear()
        self.links = {}
        self.look()

    # What is asked for.

    @rule(
        name=NAMES,
        num=st.integers(1, 3),
        replicas=st.integers(1, 3),
        gpu=st.booleans(),
        peak_bytes=st.integers(0, 2),
        homes=HOMES,
    )
    def deploy(self, name, num, replicas, gpu, peak_bytes, homes):
        if name not in self.deployments:
            spec = DeploymentSpec(name=name, version=1, replicas=replicas, require=["gpu"] if gpu else [])
            self.deployments[name] = Deployment(spec, self.plan(0, num, peak_bytes, homes), Artefact())
            self.reconcile()

    @rule(name=NAMES)
    def undeploy(self, name):
        self.beside.pop(name, None)
        if self.deployments.pop(name, None) is not None:
            self.reconcile()

    @rule(name=NAMES, replicas=st.integers(1, 3))
    def scale(self, name, replicas):
        for plans in (self.deployments, self.beside):
            if (old := plans.get(name)) is not None:
                spec = DeploymentSpec()
                spec.CopyFrom(old.spec)
                spec.replicas = replicas
                plans[name] = Deployment(spec, old.plan, old.source)
        self.reconcile()

    @rule(name=NAMES, num=st.integers(1, 3), peak_bytes=st.integers(0, 2), homes=HOMES)
    def plan_anew(self, name, num, peak_bytes, homes):
        """Other cuts are loaded beside the ones that serve."""
        old = self.deployments.get(name)
        if old is not None and name not in self.beside:
            plan = self.plan(old.plan.revision + 1, num, peak_bytes, homes)
            self.beside[name] = Deployment(old.spec, plan, old.source)
            self.reconcile()

    @rule(name=NAMES)
    def go_over(self, name):
        """Once the new plan can be served it is the one that is."""
        new = self.beside.get(name)
        if new is not None and not missing(wanted_stages(new), self.placement):
            self.deployments[name] = self.beside.pop(name)
            self.reconcile()

    @rule()
    def ask_for_rebalance(self):
        self.rebalance = True
        self.reconcile()
        self.rebalance = False

    @rule()
    def settle(self):
        """Left alone, everything comes to rest in few rounds, with all there that is wanted and possible."""
        for _ in range(MAX_ROUNDS):
            busy = [each for each in self.processes if each.lives and each.wire]
            if busy:
                self.obey(busy[0])
                continue
            before = self.placement
            self.pass_time(2.0 * SILENCE_S, 12)
            self.pass_time(100.0, 1)
            if before == self.placement and not before.place and not before.evict:
                break
        else:
            raise AssertionError("commands without end")
        self.check_rest()

    # The scheduler.

    def look(self):
        """Takes up what the registry shows."""
        instances = without_ghosts(self.members.instances.values())
        for id_, link in list(self.links.items()):
            if instances.get(id_) != link.process.instance:
                del self.links[id_]
        for id_, instance in instances.items():
            if id_ not in self.links:
                process = next(each for each in self.processes if each.instance == instance)
                self.links[WorkerId(id_)] = Link(process, self.now_s)
        self.reconcile()

    def reconcile(self):
        before, deployed = self.routes, self.wanted()
        views = [link.view() for link in self.links.values() if link.connected]
        self.placement = decide(deployed, views, self.now_s, rebalance=self.rebalance)
        instances = {id_: link.process.instance for id_, link in self.links.items()}
        self.routes = build_routes(
            self.deployments.values(), self.placement.routed, instances, before.appeared
        )
        self.check_memory()
        self.check_kept(before)
        digests = {stage.key: stage.digest for stage in deployed}
        for order in self.placement.evict:
            self.links[order.worker].seen.evicting(order.stage)
            self.links[order.worker].process.wire.append(("evict", order.stage, ""))
        for order in self.placement.place:
            link = self.links[order.worker]
            assert not link.process.leaving, "a leaving worker is given something"
            assert order.stage not in link.process.real, "a worker is given what it holds"
            link.seen.placing(order.stage, digests[order.stage])
            link.process.wire.append(("place", order.stage, digests[order.stage]))

    def obey(self, process, *, fails=False):
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

    def teardown(self):
        """Every history ends at rest."""
        self.settle()

    # What must hold.

    @invariant()
    def validate(self):
        """No ghost, nothing twice, nothing that its worker does not serve."""
        registered = self.members.instances
        for stage in self.routed_stages():
            workers = [replica.worker for replica in stage.replicas]
            assert len(set(workers)) == len(workers)
            for replica in stage.replicas:
                assert registered[replica.worker].generation == replica.generation, "a ghost is routed to"
                assert StageKey(stage.stage) in self.links[replica.worker].process.real, (
                    "a stage that is not there"
                )
        for order in self.placement.evict:
            assert order.worker not in self.placement.routed.get(order.stage, ())
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
                    assert not set(self.placement.routed[key]) & set(others), "it could have gone"

    def check_kept(self, before):
        """A stage that was routed is routed for as long as any of its replicas is there."""
        now = {stage.stage: stage for stage in self.routed_stages()}
        contents = {stage.key: stage.digest for stage in self.wanted()}
        for model in before.models:
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
                    assert now[stage.stage].replicas, f"{stage.stage} was served by {there}, and is by nobody"
        for model in self.routes.models:
            old = next((each for each in before.models if each.name == model.name), None)
            if old is not None and old.stages[0].stage != model.stages[0].stage:
                assert all(stage.replicas for stage in model.stages), "gone over to what is not complete"

    def check_memory(self):
        """No worker is told to load what it has no room for."""
        peak = {stage.key: stage.peak_bytes for stage in self.wanted()}
        for id_ in {order.worker for order in self.placement.place}:
            link = self.links[id_]
            gone = {order.stage for order in self.placement.evict if order.worker == id_}
            kept = {key for key, held in link.seen.stages.items() if held.counts and key not in gone}
            kept |= {order.stage for order in self.placement.place if order.worker == id_}
            if link.process.memory is not None:
                assert sum(peak.get(key, 0) for key in kept) <= link.process.memory

    def check_rest(self):
        assert not self.placement.moves
        wanted = {stage.key: stage for stage in self.wanted()}
        staying = {id_: link.process for id_, link in self.links.items() if not link.process.leaving}
        for key, stage in wanted.items():
            routed = set(self.placement.routed[key])
            able = {
                id_
                for id_, process in staying.items()
                if can_run(stage.require, "", process.instance.tags, process.instance.attributes)
                and (id_ in routed or self.room(process, wanted) >= stage.peak_bytes)
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

    def wanted(self):
        plans = [*self.deployments.values(), *self.beside.values()]
        return [stage for deployment in plans for stage in wanted_stages(deployment)]

    def routed_stages(self):
        return [stage for model in self.routes.models for stage in model.stages]

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

    def room(self, process, wanted):
        if process.memory is None:
            return 100
        return process.memory - sum(wanted[key].peak_bytes for key in process.real)

    def any_alive(self, data):
        alive = [each for each in self.processes if each.lives]
        return alive[data.draw(st.integers(0, len(alive) - 1))]

    def pass_time(self, seconds, num_steps=5):
        """Those who live are heard of; who is silent for too long is dropped."""
        for _ in range(num_steps):
            self.now_s += seconds / num_steps
            for process in self.processes:
                if process.lives:
                    self.members.heard(process.instance.id, process.token, self.now_s)
            self.members.expire(self.now_s)
        self.look()


TestMesh = MeshMachine.TestCase
TestMesh.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
