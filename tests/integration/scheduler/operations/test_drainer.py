"""Drains through the real gRPC service, with fake workers."""

from __future__ import annotations

import pytest

from onnxmesh.client import MeshClient
from onnxmesh.errors import (
    NotFound,
    Unsatisfiable,
)
from onnxmesh.v1.mesh_pb2 import DrainRequest
from services.scheduler.app import scheduler_app
from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker
from tests.integration.scheduler.scheduler_client import SchedulerClient


def marked(worker):
    """The worker, to be drained from the start."""
    worker.leaving = True
    return worker


async def steps_of(client, worker, **request):
    """Every step of a drain."""
    return [step async for step in client.stub.Drain(DrainRequest(worker=worker, **request))]


async def reason_of_drain(client, worker):
    """What keeps a stage on a worker, by the first step of a drain that says so."""
    call = client.stub.Drain(DrainRequest(worker=worker))
    async for step in call:
        if step.reason:
            call.cancel()
            return step.reason
    raise AssertionError("the drain ended")


async def test_drain_reports_its_steps_and_ends_when_the_worker_is_empty(mesh):
    """The worker stays marked, for this scheduler and for new deployments, until it is undone."""
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=2)
        steps = await steps_of(client, "a")
        assert list(steps[0].stages) == ["m/1/0"]
        assert [step.done for step in steps] == [False] * (len(steps) - 1) + [True]
        assert (await steps_of(client, "a"))[-1].done
        assert [worker.leaving for worker in (await client.status()).workers] == [True, False]
        await client.deploy(b"other", name="n")
        assert set(b.held) == {"m/1/0", "m/1/1", "n/1/0"}
        assert (await steps_of(client, "a", undo=True))[-1].done
        assert not a.leaving
        await eventually(lambda: a.held)


async def test_drain_reports_what_keeps_a_stage(mesh, tmp_path):
    """No other worker, none that may, none with the memory; the route stays complete, and the worker marked."""
    async with mesh("a", attributes={"a": {"zone": "x"}}) as (client, a):
        await client.deploy(stages=1, require=["zone=x"])
        assert await reason_of_drain(client, "a") == "m/1/0: there is no other worker"
        async with FakeWorker("b", client.address, tmp_path) as b:
            await client.joined(b)
            reason = await reason_of_drain(client, "a")
            assert reason.startswith("m/1/0: no other worker satisfies zone=x")
        assert client.routes == {"m/1": [{"a"}]}
        assert a.leaving


async def test_drain_of_an_unknown_worker_names_the_workers_there_are(mesh):
    async with mesh("a", "b") as (client, _a, _b), MeshClient(client.address) as asking:
        with pytest.raises(NotFound, match="worker 'c' is not in the mesh: its workers are 'a', 'b'"):
            await asking.drain("c")


async def test_drain_outlives_the_scheduler(settings, tmp_path):
    """The worker keeps it, and reports it to the next scheduler."""
    async with scheduler_app(settings) as serving:
        address = serving.address
        async with SchedulerClient(address) as client, FakeWorker("a", address, tmp_path) as a:
            await client.joined(a)
            await steps_of(client, "a")
            await a.die()
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        marked(FakeWorker("b", serving.address, tmp_path)) as b,
    ):
        await client.joined(b)
        with pytest.raises(Unsatisfiable, match="no worker has joined"):
            await client.deploy(stages=1)


async def test_drain_goes_on_without_its_client(mesh):
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=1)
        holder, other = (a, b) if a.held else (b, a)
        other.loading.clear()
        call = client.stub.Drain(DrainRequest(worker=holder.id))
        assert not (await call.read()).done
        call.cancel()
        other.loading.set()
        await eventually(lambda: client.routes == {"m/1": [{other.id}]})
