"""Deployments in a real Consul, with several schedulers."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.errors import Conflict, CorruptData
from onnxmesh.leadership.consul import ConsulLeaderElection
from onnxmesh.state.consul import open_consul_deployments
from onnxmesh.state.consul_records import CHUNK_BYTES
from onnxmesh.state.traffic_split import TrafficSplit
from tests.eventually import eventually
from tests.fakes.stored_deployment import deployment, large


@pytest.mark.services
async def test_consul_deployments_of_a_follower_see_those_of_the_leader(open_agent, consul_program):
    async with (
        open_consul_deployments(open_agent(consul_program)) as leader,
        open_consul_deployments(open_agent(consul_program)) as follower,
    ):
        await leader.save(deployment(cpu_class="x"))
        revision = 0
        async with asyncio.timeout(60):
            while (await follower.after(revision))[1] != [deployment(cpu_class="x")]:
                revision, _ = await follower.after(revision)


@pytest.mark.services
async def test_consul_deployments_refuse_writes_without_the_leaders_lock(open_agent, consul_program):
    """A leader that was deposed without knowing it is stopped by Consul itself."""
    agent = open_agent(consul_program)
    fences = [""]
    async with open_consul_deployments(agent, lambda: fences[-1]) as store:
        with pytest.raises(Conflict, match="is not the leader"):
            await store.save(deployment())
        async with ConsulLeaderElection(agent).campaign("a", "host:1") as candidate:
            await eventually(lambda: candidate.status.is_leader)
            fences.append(candidate.status.fence)
            await store.save(deployment())
        async with ConsulLeaderElection(agent).campaign("b", "host:2") as other:
            await eventually(lambda: other.status.is_leader)
            with pytest.raises(Conflict, match="Consul refused the change"):
                await store.save(deployment(cpu_class="late"))
            with pytest.raises(Conflict, match="Consul refused the change"):
                await store.delete("m", 1)
            with pytest.raises(Conflict, match="Consul refused the change"):
                await store.save_split(TrafficSplit("m", {1: 100, 2: 0}))
        assert await store.all() == [deployment()]


@pytest.mark.services
async def test_sweep_removes_unreferenced_records(open_agent, consul_program):
    """What a scheduler leaves that dies between the record and its key costs no space for ever."""
    agent = open_agent(consul_program)
    async with open_consul_deployments(agent) as store:
        await store.save(large())
        await store.save(deployment())
        await store.save_split(TrafficSplit("m", {1: 100, 2: 0}))
        orphan = f"{agent.access.prefix}/records/{'0' * 64}/0000"
        await agent.call(lambda client: client.kv.put(orphan, b"x" * CHUNK_BYTES))
        await store.sweep()
        assert (await agent.call(lambda client: client.kv.get(orphan)))[1] is None
        assert await store.all() == [large(), deployment()]
        assert len(await store.splits()) == 1


@pytest.mark.services
async def test_consul_deployments_refuse_a_damaged_record_and_follow_the_others(open_agent, consul_program):
    agent = open_agent(consul_program)
    async with open_consul_deployments(agent) as writer:
        await writer.save(deployment("a"))
        await writer.save(deployment("b"))
        _, keys = await agent.call(lambda client: client.kv.get(f"{agent.access.prefix}/records/", keys=True))
        await agent.call(lambda client: client.kv.put(keys[0], b"other"))
    async with open_consul_deployments(agent) as store:
        with pytest.raises(CorruptData, match="another content"):
            await store.all()
        _, seen = await store.after(0)
        assert len(seen) == 1
