"""Places and evicts stages on the commands of schedulers."""

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
from onnxmesh.masking import masked
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
from services.worker.requests.stage_phase import StagePhase
from services.worker.requests.stage_spec import StageSpec
from services.worker.stages.stage_run import Runnable
from services.worker.stages.stage_runner import StageRunner
from services.worker.stages.stage_table import StageTable

T = TypeVar("T")

MAX_LOADING = 2
"""Stages that load concurrently: one is fetched while another is loaded."""

_log = structlog.get_logger(__name__)


class Loader(Protocol):
    """Loads partitions; `StageLoader` is one."""

    async def load(self, stage: StageKey, partition: Partition, sources: list[str]) -> Runnable:
        """Returns the partition's session and holds its files."""
        ...

    async def release(self, partition: Partition) -> None:
        """Releases the files that `load` holds."""
        ...


class StageManager:
    """Carries out the commands for stages: those of one stage one after another, those of several concurrently.

    Use as an async context manager; on exit every stage ends.

    Args:
        stages: The stages held.
        loader: Loads partitions.
        make_runner: Returns the runner of a session.
        schedulers: They receive the outcomes.
        drain_s: Seconds that an evicted stage has to finish its requests.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        stages: StageTable,
        loader: Loader,
        make_runner: Callable[[StageSpec, Runnable], StageRunner],
        *,
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
        self._locks: defaultdict[StageKey, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._evictions: Counter[StageKey] = Counter()
        self._loading: dict[StageKey, asyncio.Task[Runnable | MeshError]] = {}
        self._running: dict[StageKey, tuple[asyncio.Task[None], Partition]] = {}
        self._loading_slots = asyncio.Semaphore(MAX_LOADING)
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = False

    async def __aenter__(self) -> StageManager:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(*failure)

    def handle(self, command: WorkerCommand, feed: EventFeed) -> None:
        """Begins to carry out a command without blocking; its outcome is published to every scheduler.

        Args:
            command: PlaceStage or EvictStage; others are ignored.
            feed: Of the scheduler that commands; it alone receives a refusal.
        """
        kind = command.WhichOneof("kind")
        if kind not in {"place_stage", "evict_stage"}:
            return  # of a newer version
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
        # A placement that is loading, or waits for its lock, is no longer wanted.
        self._evictions[stage] += 1
        if stage in self._loading:
            self._loading[stage].cancel()
        self._start(self._evict(stage))

    async def drain(self) -> None:
        """Stops loading, and returns once every stage is idle."""
        self._draining = True
        for loading in self._loading.values():
            loading.cancel()
        while busy := [runner for runner in self._stages.runners() if not runner.is_idle]:
            await busy[0].wait_idle()

    async def _place(self, stage: StageKey, command: PlaceStage, evictions: int) -> None:
        digest = Digest(command.partition.artefact.digest)
        async with self._locks[stage]:
            held = self._stages.get(stage)
            if held is not None and held.digest == digest:
                self._publish_loaded(stage, digest, held.load_s)
                return
            if held is not None:
                await self._unload(stage)
            if self._draining or self._evictions[stage] != evictions:
                return
            started_s = self._clock()
            self._stages.add_loading(stage, digest)
            loading = self._loading[stage] = self._start(self._load(stage, command))
            await asyncio.wait([loading])
            del self._loading[stage]
            outcome = None if loading.cancelled() else loading.result()
            if outcome is None or isinstance(outcome, MeshError):
                self._stages.remove(stage)
                if outcome is not None:
                    self._schedulers.publish(_failed(stage, outcome))
                return
            load_s = self._clock() - started_s
            runner = self._make_runner(StageSpec.of(stage, command.partition), outcome)
            self._running[stage] = (self._start(runner.run()), command.partition)
            self._stages.mark_ready(stage, runner, load_s)
            self._publish_loaded(stage, digest, load_s)

    async def _load(self, stage: StageKey, command: PlaceStage) -> Runnable | MeshError:
        """Returns errors instead of raising them, which would end every other task of the group."""
        try:
            async with self._loading_slots:
                return await self._loader.load(stage, command.partition, list(command.sources))
        except Exception as error:  # noqa: BLE001 - one stage's defect must not end the others
            return masked(error, stage=stage)

    async def _evict(self, stage: StageKey) -> None:
        async with self._locks[stage]:
            if self._stages.phase(stage) is StagePhase.READY:
                await self._unload(stage)
                _log.info("stage_evicted", stage=stage)
            self._schedulers.publish(WorkerEvent(stage_evicted=StageEvicted(stage=stage)))

    async def _unload(self, stage: StageKey) -> None:
        runner = self._stages.mark_evicting(stage)
        # Their other parts would be refused from now on.
        runner.refuse_parts()
        task, partition = self._running.pop(stage)
        try:
            async with asyncio.timeout(self._drain_s):
                await runner.wait_idle()
        except TimeoutError:
            _log.warning("stage_cut_short", stage=stage, queued=runner.num_queued, running=runner.num_running)
        task.cancel()
        await asyncio.wait([task])
        self._stages.remove(stage)
        await self._loader.release(partition)

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _publish_loaded(self, stage: StageKey, digest: Digest, load_s: float) -> None:
        _log.info("stage_loaded", stage=stage, digest=digest, load_s=round(load_s, 3))
        self._schedulers.publish(
            WorkerEvent(stage_loaded=StageLoaded(stage=stage, digest=digest, load_s=load_s))
        )


def _failed(stage: StageKey, error: MeshError) -> WorkerEvent:
    _log.warning("stage_failed", stage=stage, reason=error.reason, error=error.message)
    return WorkerEvent(stage_failed=StageFailed(stage=stage, reason=error.reason, message=error.message))
