"""Whatever happens to workers and deployments, placement settles, completely and without a ghost."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from onnxmesh.ids import Digest, ModelName, StageKey, Version, WorkerId
from onnxmesh.v1.worker_pb2 import StageFailed, StageLoaded
from services.scheduler.desired.desired_stages import DesiredStage, Home
from services.scheduler.placement.placement import WorkerView, decide_placement
from services.scheduler.workers.eligibility import can_run
from services.scheduler.workers.holdings import Holdings, HoldingState
from services.scheduler.workers.memory import RESERVE_BYTES
from services.scheduler.workers.worker_kinds import kind_label

pytestmark = pytest.mark.timeout(1200)
"""Thousands of decisions: seconds on an idle machine, minutes on a busy one."""

WORKERS = st.sampled_from([WorkerId(name) for name in "abcde"])
NAMES = st.sampled_from([ModelName(name) for name in "mno"])
TAGS = st.sets(st.sampled_from(["gpu", "edge"]))
DEVICES = st.sampled_from(["fast", "slow"])
MEMORY = st.sampled_from([None, 3, 6])
LABELS = st.sampled_from(["fast", "slow", "fast 3 B", "slow 6 B"])
HOMES = st.lists(st.builds(Home, LABELS, st.integers(1, 2)), max_size=2, unique_by=lambda home: home.kind)


class Worker:
    """A worker as it is (`real`), as the scheduler sees it (`seen`), and what is on the wire."""

    def __init__(self, tags, device, memory):
        self.tags = frozenset(tags)
        self.attributes = {"device.kind": device}
        self.memory = memory
        if memory is not None:
            self.attributes["memory.bytes"] = str(memory + RESERVE_BYTES)
        self.real = {}
        self.seen = Holdings()
        self.wire = []
        self.relinked = False

    def view(self, id_):
        return WorkerView(id_, self.tags, self.attributes, self.seen.stages)


class PlacementMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.workers = {}
        self.models = {}
        self.made = 0
        self.now_s = 0.0
        self.routed = {}
        self.reconcile()

    def desired(self):
        return [stage for stages in self.models.values() for stage in stages]

    def complete(self):
        return {
            stages[0].model: stages
            for stages in self.models.values()
            if all(self.routed.get(s.key) for s in stages)
        }

    def reconcile(self, *, lost=False):
        before = self.complete()
        placement = decide_placement(
            self.desired(), [w.view(id_) for id_, w in self.workers.items()], self.now_s
        )
        self.routed = placement.routed
        # Events do not say which command they answer: late answers to commands of a stream that broke may
        # be taken for answers to newer ones. That costs a detour, which ends when they have all come.
        if not lost and not any(worker.relinked for worker in self.workers.values()):
            after = self.complete()
            assert all(
                after.get(key) == stages for key, stages in before.items() if stages in self.models.values()
            )
        self.check_memory(placement)
        digests = {stage.key: stage.digest for stage in self.desired()}
        for command in placement.evict:
            assert command.worker not in self.routed.get(command.stage, ())
            self.workers[command.worker].seen.evicting(command.stage)
            self.workers[command.worker].wire.append(("evict", command.stage, None))
        for command in placement.place:
            worker = self.workers[command.worker]
            assert command.stage not in worker.real or worker.relinked, "commanded to load what it holds"
            worker.seen.placing(command.stage, digests[command.stage])
            worker.wire.append(("place", command.stage, digests[command.stage]))
        return bool(placement.place or placement.evict)

    def check_memory(self, placement):
        """No worker is commanded to load more than it has memory for."""
        peak = {stage.key: stage.peak_bytes for stage in self.desired()}
        for command in placement.place:
            worker = self.workers[command.worker]
            kept = {
                key
                for key, held in worker.seen.stages.items()
                if held.counts and (command.worker, key) not in {(o.worker, o.stage) for o in placement.evict}
            }
            kept |= {each.stage for each in placement.place if each.worker == command.worker}
            if worker.memory is not None:
                assert sum(peak.get(key, 0) for key in kept) <= worker.memory

    def handle(self, worker, *, fails=False):
        """The worker carries out one command and reports it."""
        command, stage, digest = worker.wire.pop(0)
        if command == "evict":
            worker.real.pop(stage, None)
            worker.seen.evicted(stage)
        elif fails:
            worker.seen.failed(StageFailed(stage=stage, reason="UNAVAILABLE"), self.now_s)
        else:
            worker.real[stage] = digest
            worker.seen.loaded(StageLoaded(stage=stage, digest=digest))
        self.reconcile()

    @rule(id_=WORKERS, tags=TAGS, device=DEVICES, memory=MEMORY)
    def come(self, id_, tags, device, memory):
        if id_ not in self.workers:
            self.workers[id_] = Worker(tags, device, memory)
            self.reconcile()

    @rule(id_=WORKERS)
    def die(self, id_):
        if self.workers.pop(id_, None) is not None:
            self.reconcile(lost=True)

    @rule(
        name=NAMES,
        stages=st.integers(1, 4),
        replicas=st.integers(1, 3),
        require=TAGS,
        peak_bytes=st.integers(0, 2),
        homes=HOMES,
    )
    def deploy(self, name, stages, replicas, require, peak_bytes, homes):
        self.made += 1
        self.models[name] = [
            DesiredStage(
                StageKey(f"{name}/1/{i}"),
                (name, Version(1)),
                Digest(f"{self.made}.{i}"),
                replicas=replicas,
                require=tuple(sorted(require)),
                weight_bytes=i,
                peak_bytes=peak_bytes,
                homes=tuple(homes),
            )
            for i in range(stages)
        ]
        self.reconcile(lost=True)

    @rule(name=NAMES)
    def undeploy(self, name):
        self.models.pop(name, None)
        self.reconcile(lost=True)

    @precondition(lambda self: any(worker.wire for worker in self.workers.values()))
    @rule(data=st.data(), fails=st.booleans())
    def work(self, data, fails):
        busy = [id_ for id_, worker in self.workers.items() if worker.wire]
        self.handle(self.workers[data.draw(st.sampled_from(busy))], fails=fails)

    @rule()
    def restart_scheduler(self):
        for worker in self.workers.values():
            worker.wire.clear()
            worker.seen = Holdings()
            worker.seen.rebuild(StageLoaded(stage=k, digest=d) for k, d in worker.real.items())
        self.reconcile(lost=True)

    @rule(id_=WORKERS)
    def lose_link(self, id_):
        """A stream breaks and comes back; what was sent on the old one is still carried out."""
        if id_ in self.workers:
            worker = self.workers[id_]
            worker.relinked = worker.relinked or bool(worker.wire)
            worker.seen.rebuild(StageLoaded(stage=k, digest=d) for k, d in worker.real.items())
            self.reconcile(lost=True)

    @rule()
    def settle(self):
        """Left alone, workers and scheduler come to rest in few steps, with everything where it should be."""
        for _ in range(300):
            busy = [worker for worker in self.workers.values() if worker.wire]
            if busy:
                self.handle(busy[0])
                continue
            self.now_s += 100.0  # what failed may be tried again
            if not self.reconcile():
                break
        else:
            raise AssertionError("commands without end")
        for worker in self.workers.values():
            worker.relinked = False
        desired = {stage.key: stage for stage in self.desired()}
        for key, stage in desired.items():
            able = [id_ for id_, w in self.workers.items() if can_run(stage.require, "", w.tags, {})]
            roomy = [
                id_
                for id_ in able
                if id_ in self.routed[key] or self.headroom(id_, desired) >= stage.peak_bytes
            ]
            assert len(self.routed[key]) == min(stage.replicas, len(roomy))
            assert all(self.workers[id_].real[key] == stage.digest for id_ in self.routed[key])
        for id_, worker in self.workers.items():
            assert all(id_ in self.routed.get(key, ()) for key in worker.real), "a ghost"
        self.check_homes(desired)
        self.check_evenness(desired)

    def headroom(self, id_, desired):
        worker = self.workers[id_]
        if worker.memory is None:
            return 100
        return worker.memory - sum(desired[key].peak_bytes for key in worker.real)

    def home(self, worker, stage):
        return next((h for h in stage.homes if h.kind == kind_label(worker.attributes)), None)

    def check_homes(self, desired):
        """No stage is away from home while a worker of a home that lacks it could take it."""
        for key, stage in desired.items():
            at = [self.home(self.workers[id_], stage) for id_ in self.routed[key]]
            strays = [each for each in at if each is None or at.count(each) > each.count]
            for id_, worker in self.workers.items():
                home = self.home(worker, stage)
                if strays and home is not None and at.count(home) < home.count:
                    assert (
                        key in worker.seen.stages
                        or not can_run(stage.require, "", worker.tags, {})
                        or self.headroom(id_, desired) < stage.peak_bytes
                    ), "a stage should have moved home"

    def check_evenness(self, desired):
        for source in self.workers.values():
            for name, target in self.workers.items():
                if len(source.real) - len(target.real) >= 2:
                    movable = [
                        key
                        for key in source.real
                        if key not in target.seen.stages
                        and can_run(desired[key].require, "", target.tags, {})
                        and self.home(source, desired[key]) == self.home(target, desired[key])
                        and self.headroom(name, desired) >= desired[key].peak_bytes
                    ]
                    assert not movable, "a stage should have moved"

    @invariant()
    def routes_name_only_ready_stages(self):
        for key, ids in self.routed.items():
            assert len(set(ids)) == len(ids)
            for id_ in ids:
                assert self.workers[id_].seen.stages[key].state is HoldingState.READY
                assert key in self.workers[id_].real


TestPlacementConverges = PlacementMachine.TestCase
TestPlacementConverges.settings = settings(max_examples=60, stateful_step_count=40)
