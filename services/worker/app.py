"""A worker from its parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog

from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.mesh_membership import MeshMembership, join_mesh
from onnxmesh.discovery.registration import Registration
from onnxmesh.discovery.scheduler_addresses import ConfiguredSchedulers
from onnxmesh.discovery.scheduler_search import SchedulerSearch
from onnxmesh.ids import WorkerId
from onnxmesh.memory.pinned_memory import allocate_pinned
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compression_metrics import CompressionMetrics
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.rpc.link.link import Link
from onnxmesh.rpc.link.links import LinkEvents, Links
from onnxmesh.service.serving import Serving
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.v1.blobs_pb2_grpc import add_BlobsServicer_to_server
from onnxmesh.v1.frame_pb2 import Credit
from onnxmesh.v1.worker_pb2_grpc import add_WorkerControlServicer_to_server
from services.worker.control.control_servicer import ControlServicer
from services.worker.control.link_probe import LinkProbe
from services.worker.control.scheduler_connections import SchedulerConnections
from services.worker.control.stage_loader import StageLoader
from services.worker.control.stage_manager import StageManager
from services.worker.control.worker_drain import WorkerDrain
from services.worker.machine.hardware import Hardware, find_hardware
from services.worker.machine.load import LOAD_REPORT_INTERVAL_S, LoadMeter
from services.worker.machine.speed import SpeedMeasurement, measure_speed
from services.worker.metrics import WorkerMetrics
from services.worker.models.cache_folder import cache_folder
from services.worker.models.model_builder import ModelBuilder
from services.worker.models.model_cache import ModelCache
from services.worker.models.preparations import Preparations
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.stage_spec import StageSpec
from services.worker.settings import WorkerSettings
from services.worker.stages.frame_handler import FrameHandler
from services.worker.stages.stage_run import Runnable
from services.worker.stages.stage_runner import StageLimits, StageRunner
from services.worker.stages.stage_table import StageTable
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies
from services.worker.streams.outbound import Outbound

STOP_GRACE_S = 1.0
"""Seconds that calls get when the server stops."""

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def worker_app(settings: WorkerSettings) -> AsyncIterator[Serving]:
    """Serves for the time of the context; leaving it drains.

    The end, in order: schedulers move the stages to other workers, for `drain_s` at most, while requests are served;
    health becomes NOT_SERVING and schedulers are informed; the registration ends; running requests get `drain_s`; the
    links end with a Goodbye; the server stops.

    Raises:
        Unsatisfiable: The requested device is not available.
        Conflict: Another worker uses the cache.
    """
    hardware = find_hardware(settings.device)
    with cache_folder(settings.cache, shared=settings.shared_cache) as folder:
        cache = ModelCache(folder)
        serving = Serving(
            settings, services=("onnxmesh.v1.StageStream", "onnxmesh.v1.WorkerControl", "onnxmesh.v1.Blobs")
        )
        try:
            async with _serving_worker(settings, hardware, cache, serving):
                yield serving
        finally:
            await serving.stop(STOP_GRACE_S)


@asynccontextmanager
async def _serving_worker(  # noqa: PLR0915 - the parts, one after another
    settings: WorkerSettings, hardware: Hardware, cache: ModelCache, serving: Serving
) -> AsyncIterator[None]:
    worker, generation = WorkerId(settings.id), time.time_ns()
    threads = settings.threads or hardware.cores
    on_gpu = hardware.gpu is not None

    # Stages.
    stages = StageTable()
    counters = RequestCounters()
    cancellations = Cancellations()
    meter = LoadMeter(stages, counters)
    metrics = WorkerMetrics(serving.registry, stages, meter.load)
    limits = StageLimits(
        queue_size=settings.queue_size,
        pending_bytes=settings.waiting_bytes,
        runs_at_once=settings.runs_at_once or (2 if on_gpu else 1),
    )

    def make_runner(spec: StageSpec, session: Runnable) -> StageRunner:
        return StageRunner(
            spec.on_cpu_class("" if on_gpu else hardware.cpu_class),
            session,
            outbound,
            cancellations=cancellations,
            limits=limits,
            on_run=metrics.run_observer(spec.stage),
            expected_wait_us=meter.expected_wait_us,
        )

    # Streams.
    def on_frame(link: Link, frame: Frame) -> None:
        frames.on_frame(link, frame)

    def on_link_up(link: Link) -> None:
        replies.on_link_up(link)
        frames.on_link_up(link.peer)

    def on_link_lost(link: Link) -> None:
        replies.on_link_lost(link)
        forwarder.on_link_lost(link)
        if links.get(link.peer) is None:
            frames.on_peer_lost(link.peer)
            compressor.remove_peer(link.peer)

    def on_credit(link: Link, credit: Credit) -> None:
        forwarder.on_credit(link, credit)

    def wake_stages() -> None:
        for runner in stages.runners():
            runner.wake()

    compressor = Compressor(enabled=settings.compression == "auto")
    CompressionMetrics(serving.registry, compressor)
    links = Links(
        worker,
        generation,
        on_frame=on_frame,
        events=LinkEvents(on_up=on_link_up, on_lost=on_link_lost),
        same_host=settings.same_host,
    )
    replies = GatewayReplies(worker, links.get, counters=counters, load=meter.load, compressor=compressor)
    frames = FrameHandler(
        worker, stages, replies, cancellations=cancellations, on_credit=on_credit, compressor=compressor
    )
    forwarder = Forwarder(
        worker,
        links,
        replies,
        counters=counters,
        deliver=frames.submit,
        on_capacity=wake_stages,
        compressor=compressor,
    )
    outbound = Outbound(forwarder, replies)

    # Control.
    schedulers = SchedulerConnections()
    loader = StageLoader(
        cache,
        threads,
        hardware.providers,
        spinning=settings.spins(threads),
        device="cuda" if on_gpu else "",
        staging=allocate_pinned(settings.pinned_bytes) if on_gpu and settings.pinned_bytes else None,
    )
    manager = StageManager(stages, loader, make_runner, schedulers=schedulers, drain_s=settings.drain_s)
    drain = WorkerDrain(stages, schedulers)
    builder = ModelBuilder()
    preparations = Preparations(cache, builder, device=hardware.kind(threads))
    control = ControlServicer(
        stages, manager, drain, schedulers=schedulers, preparations=preparations, probe=LinkProbe()
    )

    # Server.
    serving.server.add_generic_rpc_handlers((links.handler(),))
    add_WorkerControlServicer_to_server(control, serving.server)
    add_BlobsServicer_to_server(BlobFolderServicer(cache.blobs), serving.server)

    # Lifecycle.
    async def publish_load() -> None:
        while True:
            meter.refresh()
            load = meter.load(forwarder.link_measurements(), compressor.sent_tensors())
            schedulers.publish_load(load)
            replies.publish_load(load)
            await asyncio.sleep(LOAD_REPORT_INTERVAL_S)

    speed = SpeedMeasurement(partial(measure_speed, hardware, threads)) if settings.measure else None
    async with links, manager, asyncio.TaskGroup() as tasks:
        background = [tasks.create_task(publish_load())]
        if speed is not None:
            background.append(tasks.create_task(speed.run()))
        try:
            await serving.start()
            async with _registered(settings, hardware, speed, serving, generation, schedulers):
                try:
                    yield
                finally:
                    await drain.evacuate(settings.drain_s)
                    await serving.announce_stop()
                    frames.draining = True
                    schedulers.publish_draining()
            await _finish(manager, settings.drain_s)
        finally:
            for task in background:
                task.cancel()
            builder.close()
            schedulers.close()


@asynccontextmanager
async def _registered(
    settings: WorkerSettings,
    hardware: Hardware,
    speed: SpeedMeasurement | None,
    serving: Serving,
    generation: int,
    schedulers: SchedulerConnections,
) -> AsyncIterator[None]:
    """Registers the worker for the time of the context, where there is a mesh to join; says so while no scheduler connects."""
    access = settings.consul_access()
    if not settings.schedulers and access is None:
        # Ready as it is: only a scheduler that knows its address can find it.
        serving.set_ready()
        async with _searching(SchedulerSearch(ConfiguredSchedulers(())), schedulers):
            yield
        return
    async with (
        join_mesh(settings.schedulers, access, settings.consul_check) as mesh,
        asyncio.TaskGroup() as tasks,
    ):
        if speed is not None:
            await speed.wait()
        measured = {} if speed is None else speed.attributes
        attributes = hardware.attributes(settings.threads or hardware.cores) | settings.place() | measured
        tags = dict.fromkeys((attributes["device"], *hardware.features, *settings.tags))
        instance = Instance(settings.id, "worker", serving.address, generation, tuple(tags), attributes)
        async with mesh.registrar.register(instance) as registration, _searching(mesh.search, schedulers):
            background = [tasks.create_task(_announce_ready(serving, registration, mesh))]
            if speed is not None and not measured:
                background.append(tasks.create_task(speed.update(registration)))
            try:
                yield
            finally:
                for task in background:
                    task.cancel()


async def _announce_ready(serving: Serving, registration: Registration, mesh: MeshMembership) -> None:
    """Declares the worker ready once it is registered and there is a scheduler, which connects to it then."""
    await registration.wait()
    for address in await mesh.schedulers.wait_any():
        mesh.search.failed(
            address, f"it has not connected to {serving.address}, where this worker is registered"
        )
    serving.set_ready()


@asynccontextmanager
async def _searching(search: SchedulerSearch, schedulers: SchedulerConnections) -> AsyncIterator[None]:
    """Runs the search for the time of the context: a scheduler that is connected is found."""

    async def follow() -> None:
        while True:
            await schedulers.wait_connected()
            search.found()
            await schedulers.wait_disconnected()
            search.lost()

    async with asyncio.TaskGroup() as tasks:
        background = [tasks.create_task(follow()), tasks.create_task(search.run())]
        try:
            yield
        finally:
            for task in background:
                task.cancel()


async def _finish(manager: StageManager, drain_s: float) -> None:
    try:
        async with asyncio.timeout(drain_s):
            await manager.drain()
    except TimeoutError:
        _log.warning("drain_cut_short", drain_s=drain_s)
