"""Both stores of deployments keep their promises, in an SQLite file and in a real Consul."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from onnxmesh.state.consul import open_consul_deployments
from onnxmesh.state.embedded import open_deployments
from onnxmesh.state.traffic_split import TrafficSplit
from tests.fakes.stored_deployment import deployment, large


@pytest.fixture(params=["embedded", pytest.param("consul", marks=pytest.mark.services)])
def store(request, tmp_path):
    """`async with store() as store`: the store of one mesh, opened again with each call."""
    if request.param == "embedded":
        return lambda: open_deployments(tmp_path)
    open_agent, program = request.getfixturevalue("open_agent"), request.getfixturevalue("consul_program")
    return lambda: open_consul_deployments(open_agent(program))


async def test_store_returns_deployments_in_order_after_reopening(store):
    saved = [deployment("m", 1), deployment("m", 2), deployment("m", 10), deployment("m.n-o_p", 1)]
    async with store() as first:
        for each in reversed(saved):
            await first.save(each)
    async with store() as second:
        assert await second.all() == saved


async def test_store_replaces_and_deletes_deployments(store):
    async with store() as deployments:
        await deployments.save(deployment())
        await deployments.save(deployment(cpu_class="x86"))
        assert await deployments.all() == [deployment(cpu_class="x86")]
        await deployments.delete("m", 1)
        await deployments.delete("m", 1)
        assert await deployments.all() == []


async def test_store_keeps_a_deployment_of_any_size(store):
    async with store() as deployments:
        await deployments.save(large())
        assert await deployments.all() == [large()]
        await deployments.delete("big", 1)
        assert await deployments.all() == []


async def test_store_wakes_followers_with_each_change(store):
    """Each change wakes those who wait, with everything that is there then."""
    async with store() as deployments:
        revision, seen = 0, None
        for change, expected in [
            (deployments.save(deployment("a")), ["a"]),
            (deployments.save(large("b")), ["a", "b"]),
            (deployments.delete("a", 1), ["b"]),
        ]:
            await change
            async with asyncio.timeout(60):
                while seen != expected:
                    revision, found = await deployments.after(revision)
                    seen = [each.name for each in found]


async def test_store_makes_changes_in_the_order_of_the_calls_though_callers_are_cancelled(store):
    """A save that is cancelled and the delete after it leave nothing."""
    async with store() as deployments:
        for number in range(5):
            saving = asyncio.ensure_future(deployments.save(deployment("m", 1, cpu_class=str(number))))
            await asyncio.sleep(0)
            saving.cancel()
            await asyncio.wait([saving])
            await deployments.delete("m", 1)
            assert await deployments.all() == []


async def test_store_keeps_traffic_splits(store):
    """Each under its model's name, replaced and removed as a whole, and no deployment is taken for one."""
    first, other = (
        TrafficSplit("m", {1: 90, 2: 10}, {}),
        TrafficSplit("a.b_c", {1: 0, 2: 100}, {1: 100, 2: 0}),
    )
    async with store() as deployments:
        await deployments.save(deployment())
        for split in (first, replace(first, percents={1: 50, 2: 50}), other):
            await deployments.save_split(split)
    async with store() as deployments:
        assert await deployments.splits() == [other, replace(first, percents={1: 50, 2: 50})]
        assert await deployments.all() == [deployment()]
        await deployments.delete_split("m")
        await deployments.delete_split("m")
        assert await deployments.splits() == [other]
        await deployments.delete("m", 1)
        assert (await deployments.all(), await deployments.splits()) == ([], [other])
