"""Real workers in this process, a blob store, a commanding scheduler and a gateway's end of the links."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from onnxmesh.store.blobs import BlobFolder
from services.worker.app import worker_app
from services.worker.settings import WorkerSettings
from tests.fakes.commanding_scheduler import commanding
from tests.fakes.origin_gateway import origin_gateway
from tests.integration.worker import stage_models


@dataclass
class Worker:
    """One running worker.

    Attributes:
        stop: Drains and stops it.
        kill: Ends its streams at once, without a Goodbye.
    """

    id: str
    address: str
    scheduler: object
    stop: object
    kill: object = None

    def hop(self, stage):
        return stage, self.id, self.address


class Bench:
    """Makes what a test needs and takes it down afterwards."""

    def __init__(self, folder: Path, stack: AsyncExitStack):
        self.folder = folder
        self.blobs = BlobFolder(folder / "store")
        self.store = ""
        self._stack = stack

    async def worker(self, id_: str, **settings) -> Worker:
        own = AsyncExitStack()
        await self._stack.enter_async_context(own)
        serving = await own.enter_async_context(
            worker_app(
                WorkerSettings(**({"id": id_, "threads": 1, "drain_s": 60.0, "measure": False} | settings))
            )
        )
        scheduler = await self._stack.enter_async_context(commanding(serving.address))
        return Worker(id_, serving.address, scheduler, own.aclose, kill=lambda: serving.server.stop(None))

    async def gateway(self, name="gateway-1"):
        return await self._stack.enter_async_context(origin_gateway(name))

    def partitions(self, made, cuts):
        work = self.folder / f"work-{made.graph.name}-{len(list(self.folder.iterdir()))}"
        return stage_models.cut_model(stage_models.write(made, work / "source"), cuts, work, self.blobs)

    async def place(self, worker: Worker, stage: str, partition):
        loaded = len(worker.scheduler.of("stage_loaded"))
        await worker.scheduler.place(stage, partition, [self.store])
        return await worker.scheduler.wait_for("stage_loaded", loaded + 1)

    async def pipeline(self, made, cuts, *workers, name="m"):
        """Cuts a model and places a stage on each worker; returns the route."""
        route = []
        for index, (partition, worker) in enumerate(zip(self.partitions(made, cuts), workers, strict=True)):
            stage = f"{name}/1/{index}"
            await self.place(worker, stage, partition)
            route.append(worker.hop(stage))
        return route


@pytest.fixture
async def bench(tmp_path):
    async with AsyncExitStack() as stack:
        made = Bench(tmp_path, stack)
        made.store = await stack.enter_async_context(stage_models.serving_blobs(made.blobs))
        yield made
