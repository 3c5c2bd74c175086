"""Moves and departures of workers, by the reconciler."""

from __future__ import annotations

import asyncio

from onnxmesh.client import MeshClient
from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker


def leaving(client):
    """Who leaves, by the newest table."""
    return {worker.worker for worker in client.tables[-1].workers if worker.leaving}


async def test_reconciler_moves_stages_off_a_leaving_worker_and_lets_it_depart(mesh):
    """It stays in the table until it is removed, so that requests that it was sent are answered."""
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


async def test_reconciler_lets_all_workers_depart_when_all_leave(mesh):
    """Nothing could be moved anywhere; what they hold stays routed."""
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=2)
        await asyncio.gather(a.leave(), b.leave())
        await eventually(lambda: a.commands[-1] == b.commands[-1] == "depart")
        assert [{"a"}, {"b"}] == client.routes["m/1"]


async def test_rebalance_moves_what_its_dry_run_lists(mesh, tmp_path):
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
