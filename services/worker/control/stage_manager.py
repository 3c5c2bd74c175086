"""Carries out what schedulers command: stages come and go."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Protocol, TypeVar

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError, Unavailable
from onnxmesh.ids import Digest, StageKey
from onnxmesh.telemetry.masking import masked
from onnxmesh.v1.model_pb2 import Partition
from onnxmesh.v1.worker_pb2 import (
    PlaceStage,
    StageEvicted,
    StageFailed,
    StageLoaded,
    WorkerCommand,
    WorkerEvent,
)
from services.worker.control.scheduler_connections import EventFeed, SchedulerConnections
from services.worker.requests.stage_part import StagePart
from services.worker.requests.stage_phase import StagePhase
from services.worker.stages.stage_run import Runnable
from services.worker.stages.stage_runner import StageRunner
from services.worker.stages.stage_table import StageTable

T = TypeVar("T")

MAX_LOADING = 2
"""Stages that are loaded at the same time; fetching one overlaps with loading another."""

_log = structlog.get_logger(__name__)


class Loader(Protocol):
    """Where sessions come from; `StageLoader` is one."""

    async def load(self, stage: StageKey, partition: Partition, sources: list[str]) -> Runnable:
        """Returns the partition's session, and holds its files."""
        ...

    async def let_go(self, partition: Partition) -> None:
        """Takes back what `load` holds."""
        ...


class StageManager:
    """Places and evicts stages; commands for one stage are carried out in the order in which they came.

    Use as an async context manager: leaving it ends every stage.

    Args:
        stages: What is held.
        loader: Where sessions come from.
        make_runner: Returns what runs a session.
        schedulers: Who is told.
        drain_s: How long an evicted stage gets to finish what it has.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        stages: StageTable,
        loader: Loader,
        make_runner: Callable[[StagePart, Runnable], StageRunner],
        schedulers: SchedulerConnections,
        drain_s: float,
        clock: Clock = monotonic,
    ) -> None:
        self._stages = stages
        self._loader = loader
        self._make_runner = make_runner
        self._schedulers = schedulers
        self._drain_s = drain_s
        self._clock = clock
        self._turns: defaultdict[StageKey, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._evictions: Counter[StageKey] = Counter()
        self._loading: dict[StageKey, asyncio.Task[Runnable | MeshError]] = {}
        self._running: dict[StageKey, tuple[asyncio.Task[None], Partition]] = {}
        self._loading_slots = asyncio.Semaphore(MAX_LOADING)
        self._tasks = asyncio.TaskGroup()
        self._all: set[asyncio.Task[Any]] = set()
        self._draining = False

    async def __aenter__(self) -> StageManager:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        for task in self._all:
            task.cancel()
        await self._tasks.__aexit__(*failure)

    def obey(self, command: WorkerCommand, feed: EventFeed) -> None:
        """Begins to carry a command out; must not block. What comes of it is told to every scheduler.

        Args:
            command: What to do.
            feed: The scheduler that commands; it alone is told of a refusal.
        """
        kind = command.WhichOneof("kind")
        if kind not in {"place_stage", "evict_stage"}:
            return  # a newer scheduler's: what it is, is not known here
        place = command.place_stage if kind == "place_stage" else None
        stage = StageKey(command.place_stage.stage if place else command.evict_stage.stage)
        try:
            self._schedulers.check_epoch(command.epoch)
            if place is not None and self._draining:
                raise Unavailable("this worker is draining")
        except MeshError as error:
            feed.put(_failed(stage, error))
            return
        if place is not None:
            self._start(self._place(stage, place, self._evictions[stage]))
            return
        # What is being loaded, or waits for its turn to be, is not wanted any more.
        self._evictions[stage] += 1
        if stage in self._loading:
            self._loading[stage].cancel()
        self._start(self._evict(stage))

    async def drain(self) -> None:
        """Loads nothing more, and returns once every stage is idle."""
        self._draining = True
        for loading in self._loading.values():
            loading.cancel()
        while busy := [runner for runner in self._stages.runners() if not runner.is_idle]:
            await busy[0].drained()

    async def _place(self, stage: StageKey, command: PlaceStage, evictions: int) -> None:
        digest = Digest(command.partition.artefact.digest)
        async with self._turns[stage]:
            held = self._stages.get(stage)
            if held is not None and held.digest == digest:
                self._tell_loaded(stage, digest, held.load_s)
                return
            if held is not None:
                await self._let_go(stage)
            if self._draining or self._evictions[stage] != evictions:
                return
            started_s = self._clock()
            self._stages.loading(stage, digest)
            loading = self._loading[stage] = self._start(self._load(stage, command))
            await asyncio.wait([loading])
            del self._loading[stage]
            outcome = None if loading.cancelled() else loading.result()
            if outcome is None or isinstance(outcome, MeshError):
                self._stages.gone(stage)
                if outcome is not None:
                    self._schedulers.tell(_failed(stage, outcome))
                return
            load_s = self._clock() - started_s
            runner = self._make_runner(StagePart.of(stage, command.partition), outcome)
            self._running[stage] = (self._start(runner.run()), command.partition)
            self._stages.ready(stage, runner, load_s)
            self._tell_loaded(stage, digest, load_s)

    async def _load(self, stage: StageKey, command: PlaceStage) -> Runnable | MeshError:
        """Returns errors instead of raising them, which would end every other task of the group."""
        try:
            async with self._loading_slots:
                return await self._loader.load(stage, command.partition, list(command.sources))
        except MeshError as error:
            return error
        except Exception as error:  # noqa: BLE001 - one stage's defect must not end the others
            return masked(error, stage=stage)

    async def _evict(self, stage: StageKey) -> None:
        async with self._turns[stage]:
            if self._stages.state(stage) is StagePhase.READY:
                await self._let_go(stage)
                _log.info("stage_evicted", stage=stage)
            self._schedulers.tell(WorkerEvent(stage_evicted=StageEvicted(stage=stage)))

    async def _let_go(self, stage: StageKey) -> None:
        runner = self._stages.evicting(stage)
        # The other parts would be refused from now on.
        runner.refuse_parts()
        task, partition = self._running.pop(stage)
        try:
            async with asyncio.timeout(self._drain_s):
                await runner.drained()
        except TimeoutError:
            _log.warning("stage_cut_short", stage=stage, queued=runner.num_queued, running=runner.num_running)
        task.cancel()
        await asyncio.wait([task])
        self._stages.gone(stage)
        await self._loader.let_go(partition)

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._tasks.create_task(work)
        self._all.add(task)
        task.add_done_callback(self._all.discard)
        return task

    def _tell_loaded(self, stage: StageKey, digest: Digest, load_s: float) -> None:
        _log.info("stage_loaded", stage=stage, digest=digest, load_s=round(load_s, 3))
        self._schedulers.tell(
            WorkerEvent(stage_loaded=StageLoaded(stage=stage, digest=digest, load_s=load_s))
        )


def _failed(stage: StageKey, error: MeshError) -> WorkerEvent:
    _log.warning("stage_failed", stage=stage, reason=error.reason, error=error.message)
    return WorkerEvent(stage_failed=StageFailed(stage=stage, reason=error.reason, message=error.message))
