"""Stages come and go as they are commanded, with a loader that waits for the test."""

from __future__ import annotations

import asyncio
import errno
import weakref
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.errors import InvalidModel
from onnxmesh.ids import Digest, StageKey, WorkerId
from onnxmesh.v1.frame_pb2 import Load
from onnxmesh.v1.model_pb2 import Artefact, Partition
from onnxmesh.v1.worker_pb2 import EvictStage, Holding, PlaceStage, WorkerCommand, WorkerEvent
from services.worker.control.scheduler_connections import SchedulerConnections
from services.worker.control.stage_manager import StageManager
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.stage_phase import StagePhase
from services.worker.stages.stage_runner import StageRunner
from services.worker.stages.stage_table import StageTable
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies
from tests.eventually import eventually
from tests.fakes.gated_session import GatedSession
from tests.unit.worker.stage_requests import request

STAGE = StageKey("m/1/0")


class WaitingLoader:
    """Loads at once, or when it is told to; counts what is held."""

    def __init__(self):
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.error = None
        self.sessions = []
        self.num_held = 0
        self.num_asked = 0

    async def load(self, stage, partition, sources):
        self.num_asked += 1
        await self.may_load.wait()
        if self.error is not None:
            raise self.error
        session = GatedSession()
        self.sessions.append(weakref.ref(session))
        self.num_held += 1
        return session

    async def let_go(self, partition):
        self.num_held -= 1


class Keeping:
    """A keeper and everything around it that can be looked at."""

    def __init__(self, drain_s):
        self.table = StageTable()
        self.loader = WaitingLoader()
        self.schedulers = SchedulerConnections()
        self.failures = []
        tally = RequestCounters()
        origins = GatewayReplies(WorkerId("w"), lambda _: self, tally, Load)
        forwarder = Forwarder(WorkerId("w"), None, origins, tally, lambda _: None)

        def make_runner(part, session):
            return StageRunner(part, session, forwarder, origins, Cancellations(), tally, queue_size=4)

        self.keeper = StageManager(self.table, self.loader, make_runner, self.schedulers, drain_s)
        self.events = []

    peer, is_open, allocator = "gateway", True, None

    def send_soon(self, header):
        self.failures.append(header.failure)

    async def send(self, frame):
        self.failures.append(None)

    def place(self, digest="d", epoch=1, stage=STAGE):
        partition = Partition(artefact=Artefact(digest=digest))
        self._handle(WorkerCommand(epoch=epoch, place_stage=PlaceStage(stage=stage, partition=partition)))

    def evict(self, epoch=1, stage=STAGE):
        self._handle(WorkerCommand(epoch=epoch, evict_stage=EvictStage(stage=stage)))

    def _handle(self, command):
        self.keeper.handle(command, self.feed)

    async def follow(self):
        while (event := await self.feed.next()) is not None:
            if not event.HasField("holding"):
                self.events.append(event.WhichOneof("kind").removeprefix("stage_"))

    async def told(self, *kinds):
        await eventually(lambda: len(self.events) >= len(kinds))
        assert self.events == list(kinds)


@asynccontextmanager
async def keeping(drain_s=5.0):
    it = Keeping(drain_s)
    with it.schedulers.connect(WorkerEvent(holding=Holding())) as it.feed:
        async with asyncio.TaskGroup() as group:
            following = group.create_task(it.follow())
            async with it.keeper:
                yield it
            following.cancel()


async def test_a_stage_is_placed_and_evicted_and_nothing_keeps_its_session():
    """Not even until the collector of cycles comes by."""
    async with keeping() as it:
        it.place()
        await it.told("loaded")
        assert it.table.state(STAGE) is StagePhase.READY
        it.evict()
        await it.told("loaded", "evicted")
        assert it.table.state(STAGE) is None
        assert it.loader.num_held == 0
        await eventually(lambda: it.loader.sessions[0]() is None)


async def test_evicting_a_stage_that_loads_gives_the_loading_up():
    """It is not waited for; nothing is held, and a later placement is a new one."""
    async with keeping() as it:
        it.loader.may_load.clear()
        it.place()
        await eventually(lambda: it.loader.num_asked == 1)
        assert it.table.state(STAGE) is StagePhase.LOADING
        it.evict()
        await it.told("evicted")
        assert it.table.state(STAGE) is None
        it.loader.may_load.set()
        it.place()
        await it.told("evicted", "loaded")
        assert it.loader.num_held == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidModel("bad"), "INVALID_MODEL"),
        (KeyError("secret"), "INTERNAL"),
        (OSError(errno.ENOSPC, "No space left on device"), "OVERLOADED"),
    ],
)
async def test_a_stage_that_does_not_load_has_failed_and_can_be_placed_again(error, reason):
    """With the error's reason; a defect is masked."""
    async with keeping() as it:
        it.loader.error = error
        with it.schedulers.connect(WorkerEvent(holding=Holding())) as other:
            it.place()
            await it.told("failed")
            await other.next()
            failed = (await other.next()).stage_failed
        assert failed.reason == reason
        assert "secret" not in failed.message
        it.loader.error = None
        it.place()
        await it.told("failed", "loaded")


async def test_an_eviction_waits_for_what_runs_but_not_for_ever():
    """After that, whoever still waits is told that the stage is gone."""
    async with keeping(drain_s=0.05) as it:
        it.place()
        await it.told("loaded")
        runner = it.table.get(STAGE).runner
        session = it.loader.sessions[0]()
        runner.submit(request(1, stages=(STAGE,)))
        await eventually(lambda: session.num_started == 1)
        runner.submit(request(2, stages=(STAGE,)))
        it.evict()
        await it.told("loaded", "evicted")
        assert [failure.reason for failure in it.failures] == ["STAGE_GONE", "STAGE_GONE"]
        session.release(2)


async def test_a_draining_worker_places_nothing_and_is_done_when_all_are_idle():
    """What was still loading is given up."""
    async with keeping() as it:
        it.place()
        await it.told("loaded")
        it.loader.may_load.clear()
        it.place(stage="m/1/1")
        await eventually(lambda: it.loader.num_asked == 2)
        await asyncio.wait_for(it.keeper.drain(), 5)
        it.place(stage="m/1/2")
        await it.told("loaded", "failed")
        await eventually(lambda: StageKey("m/1/1") not in it.table)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["place", "evict"]), st.sampled_from("ab"), st.integers(0, 2), st.booleans()
        ),
        max_size=12,
    )
)
def test_any_row_of_commands_ends_in_what_the_last_one_said(commands):
    """For each stage on its own, whether or not there was time between commands; files are held for what is held."""

    async def handle():
        async with keeping() as it:
            wanted = {}
            for verb, digest, number, pause in commands:
                stage = StageKey(f"m/1/{number}")
                if verb == "place":
                    it.place(digest, stage=stage)
                    wanted[stage] = digest
                else:
                    it.evict(stage=stage)
                    wanted.pop(stage, None)
                if pause:
                    await asyncio.sleep(0)
            await eventually(
                lambda: (
                    {held.stage: held.digest for held in it.table.holding()} == wanted
                    and it.loader.num_held == len(wanted)
                )
            )

    asyncio.run(obey())


def test_an_impossible_step_of_a_stage_is_a_defect():
    """It raises, instead of leaving the table wrong."""
    table = StageTable()
    with pytest.raises(RuntimeError, match="expected"):
        table.mark_evicting(STAGE)
    table.add_loading(STAGE, Digest("d"))
    with pytest.raises(RuntimeError, match="expected"):
        table.add_loading(STAGE, Digest("d"))
    with pytest.raises(RuntimeError, match="expected"):
        table.mark_evicting(STAGE)
