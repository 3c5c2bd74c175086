"""Registry, placement and routes together: whatever happens, `validate` holds after every step."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import WorkerId
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec
from services.scheduler.desired.desired_stages import desired_stages
from services.scheduler.placement.placement import missing
from services.scheduler.workers.memory import RESERVE_BYTES
from tests.unit.scheduler.mesh_model import SILENCE_S, MeshModel, Process

pytestmark = pytest.mark.timeout(1200)
"""Thousands of decisions: seconds on an idle machine, minutes on a busy one."""

MAX_ROUNDS = 400

IDS = st.sampled_from([WorkerId(name) for name in "abcde"])
NAMES = st.sampled_from("mn")
ZONES = st.sampled_from(["x", "y"])
KINDS = st.sampled_from(["fast", "slow"])
MEMORY = st.sampled_from([None, 3, 6])
HOMES = st.sampled_from([(), ("x/fast",), ("x/fast", "y/slow 6 B")])


class MeshMachine(MeshModel, RuleBasedStateMachine):
    def __init__(self):
        RuleBasedStateMachine.__init__(self)
        MeshModel.__init__(self)

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
        process.token = self.leases.grant(process.instance, self.now_s)
        self.processes.append(process)
        self.look()

    @rule(data=st.data(), silently=st.booleans())
    @precondition(lambda self: sum(each.lives for each in self.processes) > 1)
    def die(self, data, silently):
        """Its stream breaks and its lease ends; or neither, until it has sent nothing for too long."""
        process = self.any_alive(data)
        process.lives = False
        if not silently:
            self.leases.release(process.instance.id, process.token, self.now_s)
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
        """A command arrives, late or not, is carried out or fails, and the scheduler gets the event."""
        busy = [each for each in self.processes if each.lives and each.wire]
        self.handle(busy[data.draw(st.integers(0, len(busy) - 1))], fails=fails)

    @rule()
    def restart_scheduler(self):
        """A new leader requests the holdings of all workers; commands of the previous one are refused."""
        for process in self.processes:
            process.wire.clear()
        self.links = {}
        self.look()

    # What is desired.

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
        self.standby.pop(name, None)
        if self.deployments.pop(name, None) is not None:
            self.reconcile()

    @rule(name=NAMES, replicas=st.integers(1, 3))
    def scale(self, name, replicas):
        for plans in (self.deployments, self.standby):
            if (old := plans.get(name)) is not None:
                spec = DeploymentSpec()
                spec.CopyFrom(old.spec)
                spec.replicas = replicas
                plans[name] = Deployment(spec, old.plan, old.source)
        self.reconcile()

    @rule(name=NAMES, num=st.integers(1, 3), peak_bytes=st.integers(0, 2), homes=HOMES)
    def replan(self, name, num, peak_bytes, homes):
        """Other cuts are loaded beside the ones that serve."""
        old = self.deployments.get(name)
        if old is not None and name not in self.standby:
            plan = self.plan(old.plan.revision + 1, num, peak_bytes, homes)
            self.standby[name] = Deployment(old.spec, plan, old.source)
            self.reconcile()

    @rule(name=NAMES)
    def go_over(self, name):
        """Once the new plan can be served it is the one that is."""
        new = self.standby.get(name)
        if new is not None and not missing(desired_stages(new), self.placement):
            self.deployments[name] = self.standby.pop(name)
            self.reconcile()

    @rule()
    def request_rebalance(self):
        self.rebalance = True
        self.reconcile()
        self.rebalance = False

    @rule()
    def settle(self):
        """Left alone, everything comes to rest in few rounds, with all there that is desired and possible."""
        for _ in range(MAX_ROUNDS):
            busy = [each for each in self.processes if each.lives and each.wire]
            if busy:
                self.handle(busy[0])
                continue
            before = self.placement
            self.pass_time(2.0 * SILENCE_S, 12)
            self.pass_time(100.0, 1)
            at_rest = before == self.placement and not before.place and not before.evict
            # What time alone brought about, such as the end of a lease, may have sent commands in between.
            if at_rest and not any(each.lives and each.wire for each in self.processes):
                break
        else:
            raise AssertionError("commands without end")
        self.check_rest()

    def any_alive(self, data):
        alive = [each for each in self.processes if each.lives]
        return alive[data.draw(st.integers(0, len(alive) - 1))]

    def teardown(self):
        """Every history ends at rest."""
        self.settle()

    @invariant()
    def always(self):
        self.validate()


TestMesh = MeshMachine.TestCase
TestMesh.settings = settings(max_examples=40, stateful_step_count=50)
