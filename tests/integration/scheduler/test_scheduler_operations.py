"""Drain, scale, rebalance and rollout through the real gRPC edge, with workers that answer as told."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.client import MeshClient
from onnxmesh.errors import (
    InvalidModel,
    InvalidRequest,
    NotFound,
    Unsatisfiable,
)
from onnxmesh.v1.mesh_pb2 import DrainRequest
from services.scheduler.app import scheduler_app
from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker
from tests.integration.scheduler.scheduler_client import SchedulerClient


def leaving(client):
    """Who leaves, by the newest table."""
    return {worker.worker for worker in client.tables[-1].workers if worker.leaving}


def percents(client):
    """What each version gets, by the newest table; None: versions do not share."""
    return {
        model.version: model.traffic_percent if model.HasField("traffic_percent") else None
        for model in client.tables[-1].models
    }


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


async def test_what_a_leaving_worker_holds_goes_elsewhere_and_it_is_let_go(mesh):
    """It stays in the table until it is gone, so that what it was sent is still answered."""
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=2)
        b.loading.clear()
        first = len(client.tables)
        await a.leave()
        await eventually(lambda: "place m/1/0" in b.commands)
        assert client.routes == {"m/1": [{"a"}, {"b"}]}
        b.loading.set()
        await eventually(lambda: client.routes == {"m/1": [{"b"}, {"b"}]})
        await eventually(lambda: a.commands[-2:] == ["evict m/1/0", "depart"])
        assert all(stage.replicas for table in client.tables[first:] for stage in table.models[0].stages)
        assert leaving(client) == {"a"}
        await a.die()
        await eventually(lambda: not leaving(client))


async def test_route_table_keeps_a_worker_that_evicts_its_last_stage(mesh):
    """As a leaving one: it was sent requests a moment ago."""
    async with mesh("a") as (client, a):
        await client.deploy(stages=1)
        assert [worker.leaving for worker in client.tables[-1].workers] == [False]
        a.evicting.clear()
        await client.undeploy("m")
        await eventually(lambda: leaving(client) == {"a"})
        a.evicting.set()
        await eventually(lambda: not client.tables[-1].workers)
        assert not a.held


async def test_when_all_leave_each_is_told_to_depart(mesh):
    """Nothing could be moved anywhere; what they hold stays routed."""
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=2)
        await asyncio.gather(a.leave(), b.leave())
        await eventually(lambda: a.commands[-1] == b.commands[-1] == "depart")
        assert [{"a"}, {"b"}] == client.routes["m/1"]


async def test_a_drain_tells_its_steps_and_ends_when_the_worker_is_empty(mesh):
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


async def test_a_drain_says_what_keeps_a_stage(mesh, tmp_path):
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


async def test_an_unknown_worker_is_named_with_those_there_are(mesh):
    async with mesh("a", "b") as (client, _a, _b), MeshClient(client.address) as asking:
        with pytest.raises(NotFound, match="worker 'c' is not in the mesh: its workers are 'a', 'b'"):
            await asking.drain("c")


async def test_a_mark_outlives_the_scheduler(settings, tmp_path):
    """The worker has it, and tells the next one."""
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


async def test_replicas_go_up_and_down_and_are_written_down(settings, tmp_path):
    """Never a table without one; the number outlives the scheduler, and the same wish is the one that equals it."""
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        MeshClient(serving.address) as asking,
        FakeWorker("a", serving.address, tmp_path) as a,
        FakeWorker("b", serving.address, tmp_path) as b,
    ):
        await client.joined(a, b)
        await client.deploy(stages=2)
        first = len(client.tables) - 1
        scaled = await asking.scale("m", 2)
        assert (scaled.spec.replicas, len(scaled.replicas)) == (2, 4)
        await eventually(lambda: client.routes == {"m/1": [{"a", "b"}] * 2})
        assert (await client.deploy(stages=2, replicas=2)).version == 1
        assert (await client.deploy(stages=2)).version == 2
        await asking.scale("m", 1, version=1)
        await eventually(lambda: [len(stage) for stage in client.routes["m/1"]] == [1, 1])
        tables = [model for table in client.tables[first:] for model in table.models if model.version == 1]
        assert all(stage.replicas for model in tables for stage in model.stages)
    async with scheduler_app(settings) as serving, SchedulerClient(serving.address) as client:
        assert [model.spec.replicas for model in (await client.status()).models] == [1, 1]


async def test_a_number_of_replicas_that_cannot_be_is_refused_and_changes_nothing(mesh):
    """Too many, none, more than workers; and what a worker refuses is taken back."""
    async with mesh("a", "b") as (client, a, b), MeshClient(client.address) as asking:
        await client.deploy(stages=1)
        for replicas, error in ((0, InvalidRequest), (257, InvalidRequest), (3, Unsatisfiable)):
            with pytest.raises(error):
                await asking.scale("m", replicas)
        other = b if a.held else a
        other.fail["m/1/0"] = InvalidModel("not on this machine")
        with pytest.raises(InvalidModel, match="not on this machine"):
            await asking.scale("m", 2)
        assert (await client.status()).models[0].spec.replicas == 1
        with pytest.raises(NotFound, match="no version 4"):
            await asking.scale("m", 1, version=4)


async def test_where_a_plan_chooses_replicas_the_number_is_the_least(mesh):
    async with mesh("a", "b") as (client, _a, _b), MeshClient(client.address) as asking:
        deployed = await client.deploy(replicate=True, stages=1)
        chosen = len(deployed.replicas)
        for replicas in (1, 2):
            scaled = await asking.scale("m", replicas)
            assert len(scaled.replicas) >= max(replicas, min(chosen, 2))


async def test_versions_share_traffic_from_the_start_or_later_and_it_is_taken_back(mesh):
    """Gateways are told at once, status says it, and a new version gets nothing of a split that is there."""
    async with mesh("a") as (client, _a), MeshClient(client.address) as asking:
        await client.deploy(b"one")
        await client.deploy(b"two", traffic_percent=10)
        await eventually(lambda: percents(client) == {1: 90, 2: 10})
        first = next(table for table in client.tables if len(table.models) == 2)
        assert [model.traffic_percent for model in first.models] == [90, 10]
        await client.deploy(b"three")
        await eventually(lambda: percents(client) == {1: 90, 2: 10, 3: 0})
        assert await asking.roll_out("m", 3, 50) == {1: 45, 2: 5, 3: 50}
        assert [model.traffic_percent for model in (await client.status()).models] == [45, 5, 50]
        assert await asking.roll_back("m") == {1: 90, 2: 10, 3: 0}
        with pytest.raises(Unsatisfiable, match="no rollout"):
            await asking.roll_back("m")
        await client.undeploy("m", 1)
        await eventually(lambda: percents(client) == {2: 100, 3: 0})
        await client.undeploy("m", 3)
        await eventually(lambda: percents(client) == {2: None})


async def test_a_version_that_cannot_be_served_leaves_the_split_as_it_was(mesh):
    """Though it had its part from the start; with a step back, if there was one."""
    async with mesh("a") as (client, a), MeshClient(client.address) as asking:
        await client.deploy(b"one")
        await client.deploy(b"two", traffic_percent=10)
        a.fail["m/3/0"] = InvalidModel("no")
        with pytest.raises(InvalidModel):
            await client.deploy(b"three", traffic_percent=50)
        await eventually(lambda: percents(client) == {1: 90, 2: 10})
        assert await asking.roll_back("m") == {1: 0, 2: 100}
        await eventually(lambda: percents(client) == {1: None, 2: None})
        with pytest.raises(InvalidModel):
            await client.deploy(b"three", traffic_percent=50)
        await eventually(lambda: percents(client) == {1: None, 2: None})


async def test_a_part_that_cannot_be_is_refused_before_anything_is_sent(mesh):
    async with mesh("a") as (client, _a), MeshClient(client.address) as asking:
        with pytest.raises(InvalidRequest, match="no other version"):
            await client.deploy(b"one", traffic_percent=10)
        assert (await client.deploy(b"one", traffic_percent=100)).version == 1
        assert (await client.deploy(b"two")).version == 2
        assert (await client.deploy(b"two", traffic_percent=20)).version == 2
        assert (await client.status()).models[1].traffic_percent == 20
        with pytest.raises(NotFound, match="no version 7: deployed versions are 1, 2"):
            await asking.roll_out("m", 7)
        with pytest.raises(NotFound, match="model 'n' is not deployed"):
            await asking.roll_out("n", 1)


async def test_a_split_outlives_the_scheduler(settings, tmp_path):
    """With the step back."""
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        FakeWorker("a", serving.address, tmp_path) as a,
    ):
        await client.joined(a)
        await client.deploy(b"one")
        await client.deploy(b"two", traffic_percent=10)
    async with scheduler_app(settings) as serving, MeshClient(serving.address) as asking:
        assert [model.traffic_percent for model in (await asking.status()).models] == [90, 10]
        assert await asking.roll_out("m", 1, 30) == {1: 30, 2: 70}
        assert await asking.roll_back("m") == {1: 90, 2: 10}


async def test_a_rebalance_says_what_it_would_move_and_moves_it(mesh, tmp_path):
    """The dry run commands nothing."""
    async with mesh("a") as (client, _a), MeshClient(client.address) as asking:
        for name in ("m", "n"):
            await client.deploy(name.encode(), name=name, stages=2)
        async with FakeWorker("b", client.address, tmp_path) as b:
            b.loading.clear()
            await client.joined(b)
            moves = await asking.rebalance(dry_run=True)
            b.loading.set()
            await asking.rebalance()
            assert len(b.held) == 2
            assert all((move.from_worker, move.to_worker) == ("a", "b") for move in moves)
            assert await asking.rebalance(dry_run=True) == []


async def test_a_drain_whose_client_leaves_goes_on(mesh):
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=1)
        holder, other = (a, b) if a.held else (b, a)
        other.loading.clear()
        call = client.stub.Drain(DrainRequest(worker=holder.id))
        assert not (await call.read()).done
        call.cancel()
        other.loading.set()
        await eventually(lambda: client.routes == {"m/1": [{other.id}]})
