"""The stage manager: placing, evicting and draining, with a loader that waits for the test."""

from __future__ import annotations

import asyncio
import errno
import weakref
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.errors import InvalidModel
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.v1.frame_pb2 import Load
from onnxmesh.v1.model_pb2 import Artefact, Partition
from onnxmesh.v1.worker_pb2 import EvictStage, Holding, PlaceStage, WorkerCommand, WorkerEvent
from services.worker.control.scheduler_connections import SchedulerConnections
from services.worker.control.stage_manager import StageManager
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.stage_phase import StagePhase
from services.worker.stages.stage_runner import StageLimits, StageRunner
from services.worker.stages.stage_table import StageTable
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies
from services.worker.streams.outbound import Outbound
from tests.eventually import eventually
from tests.fakes.gated_session import GatedSession
from tests.unit.worker.stage_requests import request

STAGE = StageKey("m/1/0")


class WaitingLoader:
    """Loads at once or when `may_load` is set; counts the held partitions."""

    def __init__(self):
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.error = None
        self.sessions = []
        self.num_held = 0
        self.num_loads = 0

    async def load(self, stage, partition, sources):
        self.num_loads += 1
        await self.may_load.wait()
        if self.error is not None:
            raise self.error
        session = GatedSession()
        self.sessions.append(weakref.ref(session))
        self.num_held += 1
        return session

    async def release(self, partition):
        self.num_held -= 1


class Managed:
    """A stage manager and its surroundings."""

    def __init__(self, drain_s):
        self.table = StageTable()
        self.loader = WaitingLoader()
        self.schedulers = SchedulerConnections()
        self.failures = []
        counters = RequestCounters()
        replies = GatewayReplies(WorkerId("w"), lambda _: self, counters=counters, load=Load)
        forwarder = Forwarder(WorkerId("w"), None, replies, counters=counters, deliver=lambda _: None)

        def make_runner(spec, session):
            return StageRunner(
                spec,
                session,
                Outbound(forwarder, replies),
                cancellations=Cancellations(),
                limits=StageLimits(4),
            )

        self.manager = StageManager(
            self.table, self.loader, make_runner, schedulers=self.schedulers, drain_s=drain_s
        )
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
        self.manager.handle(command, self.feed)

    async def follow(self):
        while (event := await self.feed.next()) is not None:
            if not event.HasField("holding"):
                self.events.append(event.WhichOneof("kind").removeprefix("stage_"))

    async def published(self, *kinds):
        await eventually(lambda: len(self.events) >= len(kinds))
        assert self.events == list(kinds)


@asynccontextmanager
async def managing(drain_s=5.0):
    it = Managed(drain_s)
    with it.schedulers.connect(WorkerEvent(holding=Holding())) as it.feed:
        async with asyncio.TaskGroup() as group:
            following = group.create_task(it.follow())
            async with it.manager:
                yield it
            following.cancel()


async def test_stage_manager_places_and_evicts_a_stage_and_keeps_no_session():
    """Released without garbage collection."""
    async with managing() as it:
        it.place()
        await it.published("loaded")
        assert it.table.phase(STAGE) is StagePhase.READY
        it.evict()
        await it.published("loaded", "evicted")
        assert it.table.phase(STAGE) is None
        assert it.loader.num_held == 0
        await eventually(lambda: it.loader.sessions[0]() is None)


async def test_stage_manager_cancels_the_loading_of_an_evicted_stage():
    """Nothing is held, and a later placement loads again."""
    async with managing() as it:
        it.loader.may_load.clear()
        it.place()
        await eventually(lambda: it.loader.num_loads == 1)
        assert it.table.phase(STAGE) is StagePhase.LOADING
        it.evict()
        await it.published("evicted")
        assert it.table.phase(STAGE) is None
        it.loader.may_load.set()
        it.place()
        await it.published("evicted", "loaded")
        assert it.loader.num_held == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidModel("bad"), "INVALID_MODEL"),
        (KeyError("secret"), "INTERNAL"),
        (OSError(errno.ENOSPC, "No space left on device"), "OVERLOADED"),
    ],
)
async def test_stage_manager_reports_a_failed_stage_and_places_it_again(error, reason):
    """With the error's reason; a defect is masked."""
    async with managing() as it:
        it.loader.error = error
        with it.schedulers.connect(WorkerEvent(holding=Holding())) as other:
            it.place()
            await it.published("failed")
            await other.next()
            failed = (await other.next()).stage_failed
        assert failed.reason == reason
        assert "secret" not in failed.message
        it.loader.error = None
        it.place()
        await it.published("failed", "loaded")


async def test_stage_manager_waits_for_running_requests_of_an_evicted_stage_up_to_a_limit():
    """After that, the remaining requests fail."""
    async with managing(drain_s=0.05) as it:
        it.place()
        await it.published("loaded")
        runner = it.table.get(STAGE).runner
        session = it.loader.sessions[0]()
        runner.submit(request(1, stages=(STAGE,)))
        await eventually(lambda: session.num_started == 1)
        runner.submit(request(2, stages=(STAGE,)))
        it.evict()
        await it.published("loaded", "evicted")
        assert [failure.reason for failure in it.failures] == ["STAGE_GONE", "STAGE_GONE"]
        session.release(2)


async def test_stage_manager_places_nothing_while_draining():
    """Loading is cancelled; draining is done when all stages are idle."""
    async with managing() as it:
        it.place()
        await it.published("loaded")
        it.loader.may_load.clear()
        it.place(stage="m/1/1")
        await eventually(lambda: it.loader.num_loads == 2)
        await asyncio.wait_for(it.manager.drain(), 300)
        it.place(stage="m/1/2")
        await it.published("loaded", "failed")
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
def test_stage_manager_ends_any_sequence_of_commands_in_the_last_state(commands):
    """For each stage, with and without pauses between commands; only held stages hold files."""

    async def carry_out():
        async with managing() as it:
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

    asyncio.run(carry_out())
