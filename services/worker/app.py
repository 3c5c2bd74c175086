"""How a worker is put together, and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import structlog
from prometheus_client import CollectorRegistry

from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.mesh_membership import join_mesh
from onnxmesh.discovery.registration import Registration
from onnxmesh.ids import WorkerId
from onnxmesh.memory.pinned_memory import allocate_pinned
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compression_metrics import CompressionMetrics
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.rpc.link.link import Link
from onnxmesh.rpc.link.links import LinkEvents, Links
from onnxmesh.service.serving import Serving
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.v1.blobs_pb2_grpc import add_BlobsServicer_to_server
from onnxmesh.v1.frame_pb2 import Credit, LinkMeasurement, Load, SentTensors
from onnxmesh.v1.worker_pb2_grpc import add_WorkerControlServicer_to_server
from services.worker.control.control_servicer import ControlServicer
from services.worker.control.link_probe import LinkProbe
from services.worker.control.scheduler_connections import SchedulerConnections
from services.worker.control.stage_loader import StageLoader
from services.worker.control.stage_manager import StageManager
from services.worker.control.worker_drain import WorkerDrain
from services.worker.hardware import Hardware, find_hardware
from services.worker.intake import Intake
from services.worker.load import REPORT_S, expected_wait_us, load_now, resident_bytes
from services.worker.metrics import WorkerMetrics
from services.worker.models.cache_folder import cache_folder
from services.worker.models.model_builder import ModelBuilder
from services.worker.models.model_cache import ModelCache
from services.worker.models.preparations import Preparations
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.stage_part import StagePart
from services.worker.settings import WorkerSettings
from services.worker.speed import WAIT_S, measured_speed, speed_attributes
from services.worker.stages.stage_run import Runnable
from services.worker.stages.stage_runner import StageRunner
from services.worker.stages.stage_table import StageTable
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies

T = TypeVar("T")

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def worker_app(settings: WorkerSettings) -> AsyncIterator[Serving]:
    """Serves as a worker for the time of the context, then drains.

    The end, in order: schedulers are told that this worker leaves and move its stages elsewhere, while it serves on,
    for `drain_s` at most; health says NOT_SERVING and schedulers are told; the registration is given up; what is here
    is finished, for `drain_s` at most; peers are told Goodbye; the server stops.

    Raises:
        Unsatisfiable: The device that is asked for is not there.
        Conflict: Another worker uses the cache.
    """
    hardware = find_hardware(settings.device)
    with cache_folder(settings.cache, shared=settings.shared_cache) as folder:
        cache = ModelCache(folder)
        async with AsyncExitStack() as stack:
            serving = Serving(settings)
            stack.push_async_callback(serving.stop, 1.0)
            worker = await stack.enter_async_context(
                _Worker(settings, hardware, cache, serving.registry).running()
            )
            worker.serve(serving, cache)
            await serving.start()
            registered = AsyncExitStack()
            async with registered:
                access = settings.consul_access()
                if settings.schedulers or access is not None:
                    mesh = await registered.enter_async_context(
                        join_mesh(settings.schedulers, access, settings.consul_check)
                    )
                    instance = await worker.instance(serving.address)
                    registration = await registered.enter_async_context(mesh.registrar.register(instance))
                    worker.tell_speed(registration)
                try:
                    yield serving
                finally:
                    await worker.leave()
                    await serving.announce_stop()
                    worker.announce_end()
            await worker.drain()


class _Worker:
    """The parts of a worker, wired."""

    def __init__(
        self, settings: WorkerSettings, hardware: Hardware, cache: ModelCache, registry: CollectorRegistry
    ) -> None:
        self._settings = settings
        self._hardware = hardware
        self._id = WorkerId(settings.id)
        self._generation = time.time_ns()
        self._tally = RequestCounters()
        self._resident_bytes = resident_bytes()
        self._stages = StageTable()
        self._compressor = Compressor(enabled=settings.compression == "auto")
        self._metrics = WorkerMetrics(registry, self._stages, self._load)
        CompressionMetrics(registry, self._compressor)
        self._cancellations = Cancellations()
        self._schedulers = SchedulerConnections()
        self._departure = WorkerDrain(self._stages, self._schedulers)
        self._links = Links(
            self._id,
            self._generation,
            on_frame=self._on_frame,
            events=LinkEvents(on_up=self._link_up, on_lost=self._link_lost),
            same_host=settings.same_host,
        )
        self._origins = GatewayReplies(
            self._id, self._links.get, self._tally, self._load, compressor=self._compressor
        )
        self._intake = Intake(
            self._id,
            self._stages,
            self._origins,
            self._cancellations,
            self._tally,
            on_credit=self._credit_returned,
            compressor=self._compressor,
        )
        self._forwarder = Forwarder(
            self._id,
            self._links,
            self._origins,
            self._tally,
            self._intake.take,
            on_capacity=self._wake_stages,
            compressor=self._compressor,
        )
        self._threads = settings.threads or hardware.cores
        spinning = settings.spins(self._threads)
        on_gpu = hardware.gpu is not None
        loader = StageLoader(
            cache,
            self._threads,
            hardware.providers,
            spinning=spinning,
            device="cuda" if on_gpu else "",
            staging=allocate_pinned(settings.pinned_bytes) if on_gpu and settings.pinned_bytes else None,
        )
        self._runs_at_once = settings.runs_at_once or (2 if on_gpu else 1)
        self._keeper = StageManager(
            self._stages, loader, self._make_runner, self._schedulers, settings.drain_s
        )
        self._workshop = ModelBuilder()
        self._preparations = Preparations(cache, self._workshop, hardware.kind(self._threads))
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[Any]] = []
        self._measuring: asyncio.Task[DeviceSpeed | None] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[_Worker]:
        """Runs links, stages and reports for the time of the context."""
        async with self._links, self._keeper, self._tasks:
            self._start(self._report())
            if self._settings.measure:
                self._measuring = self._start(measured_speed(self._hardware, self._threads))
            try:
                yield self
            finally:
                for task in self._running:
                    task.cancel()
                self._workshop.close()
                self._schedulers.hang_up()

    def serve(self, serving: Serving, cache: ModelCache) -> None:
        """Adds what this worker serves to its server."""
        serving.server.add_generic_rpc_handlers((self._links.handler(),))
        control = ControlServicer(
            self._stages, self._keeper, self._schedulers, self._preparations, LinkProbe(), self._departure
        )
        add_WorkerControlServicer_to_server(control, serving.server)
        add_BlobsServicer_to_server(BlobFolderServicer(cache.blobs), serving.server)

    async def instance(self, address: str) -> Instance:
        """Returns how this worker describes itself: how fast it is, too, if it knows that soon."""
        if self._measuring is not None:
            await asyncio.wait([self._measuring], timeout=WAIT_S)
        attributes = (
            self._hardware.attributes(self._threads) | self._settings.place() | self._speed_attributes()
        )
        tags = dict.fromkeys((attributes["device"], *self._hardware.features, *self._settings.tags))
        return Instance(self._id, "worker", address, self._generation, tuple(tags), attributes)

    def tell_speed(self, registration: Registration) -> None:
        """Has a registration that came before this worker knew how fast it is told so afterwards."""
        if self._measuring is not None and not self._speed_attributes():
            self._start(self._tell_speed(self._measuring, registration))

    async def _tell_speed(
        self, measuring: asyncio.Task[DeviceSpeed | None], registration: Registration
    ) -> None:
        await asyncio.wait([measuring])
        known = registration.instance
        attributes = {**known.attributes, **self._speed_attributes()}
        registration.update(replace(known, attributes=attributes))

    def _speed_attributes(self) -> dict[str, str]:
        measuring = self._measuring
        return {} if measuring is None or not measuring.done() else speed_attributes(measuring.result())

    async def leave(self) -> None:
        """Has everything moved off this worker, as far as others can take it."""
        await self._departure.emptied(self._settings.drain_s)

    def announce_end(self) -> None:
        """Takes no new requests, and tells schedulers."""
        self._intake.draining = True
        self._schedulers.tell_draining()

    async def drain(self) -> None:
        """Finishes what is here, for as long as it may take."""
        try:
            async with asyncio.timeout(self._settings.drain_s):
                await self._keeper.drain()
        except TimeoutError:
            _log.warning("drain_cut_short", drain_s=self._settings.drain_s)

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._tasks.create_task(work)
        self._running.append(task)
        return task

    def _make_runner(self, part: StagePart, session: Runnable) -> StageRunner:
        return StageRunner(
            part,
            session,
            self._forwarder,
            self._origins,
            self._cancellations,
            self._tally,
            queue_size=self._settings.queue_size,
            waiting_bytes=self._settings.waiting_bytes,
            runs_at_once=self._runs_at_once,
            on_computed=self._metrics.computed(part.stage),
            cpu_class=self._hardware.cpu_class if self._hardware.gpu is None else "",
            expected_wait_us=lambda: expected_wait_us(self._stages.runners()),
        )

    def _credit_returned(self, link: Link, credit: Credit) -> None:
        self._forwarder.credit_returned(link, credit)

    def _wake_stages(self) -> None:
        for runner in self._stages.runners():
            runner.wake()

    def _load(self, ways: Iterable[LinkMeasurement] = (), sent: Iterable[SentTensors] = ()) -> Load:
        return load_now(self._stages.runners(), self._tally, self._resident_bytes, ways, sent)

    async def _report(self) -> None:
        while True:
            self._resident_bytes = resident_bytes()
            load = self._load(self._forwarder.ways(), self._compressor.sent_tensors())
            self._schedulers.tell_load(load)
            self._origins.tell_load(load)
            await asyncio.sleep(REPORT_S)

    def _on_frame(self, link: Link, frame: Frame) -> None:
        self._intake.on_frame(link, frame)

    def _link_up(self, link: Link) -> None:
        self._origins.link_up(link)
        self._intake.link_up(link.peer)

    def _link_lost(self, link: Link) -> None:
        self._origins.link_lost(link)
        self._forwarder.link_lost(link)
        if self._links.get(link.peer) is None:
            self._intake.peer_lost(link.peer)
            self._compressor.remove_peer(link.peer)
