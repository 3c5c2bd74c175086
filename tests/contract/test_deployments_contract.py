"""DeploymentStore keeps what it promises, whatever stands behind it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import Conflict, CorruptData
from onnxmesh.leadership.consul import ConsulLeaderElection
from onnxmesh.state.base import Deployment
from onnxmesh.state.consul import open_consul_deployments
from onnxmesh.state.consul_records import CHUNK_BYTES
from onnxmesh.state.embedded import open_deployments
from onnxmesh.state.record import from_record, to_record
from onnxmesh.state.traffic_split import TrafficSplit
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan
from tests.eventually import eventually


def deployment(name="m", version=1, **plan):
    return Deployment(
        DeploymentSpec(name=name, version=version, replicas=2, require=["gpu"]),
        Plan(optimisation="all", partitions=[Partition(index=0)], **plan),
        Artefact(digest="d"),
    )


def large(name="big"):
    """A deployment whose record is larger than any value in Consul may be."""
    noise = "".join(chr(33 + (number * number * 7919 + number // 13) % 90) for number in range(3_000_000))
    return deployment(name, cpu_class=noise)


@pytest.fixture(params=["embedded", pytest.param("consul", marks=pytest.mark.services)])
def store(request, tmp_path):
    """`async with store() as store`: the store of one mesh, opened again with each call."""
    if request.param == "embedded":
        return lambda: open_deployments(tmp_path)
    open_agent, program = request.getfixturevalue("open_agent"), request.getfixturevalue("consul_program")
    return lambda: open_consul_deployments(open_agent(program))


async def test_what_was_saved_is_there_after_opening_again_in_order(store):
    saved = [deployment("m", 1), deployment("m", 2), deployment("m", 10), deployment("m.n-o_p", 1)]
    async with store() as first:
        for each in reversed(saved):
            await first.save(each)
    async with store() as second:
        assert await second.all() == saved


async def test_saving_again_replaces_and_deleting_forgets(store):
    async with store() as deployments:
        await deployments.save(deployment())
        await deployments.save(deployment(cpu_class="x86"))
        assert await deployments.all() == [deployment(cpu_class="x86")]
        await deployments.delete("m", 1)
        await deployments.delete("m", 1)
        assert await deployments.all() == []


async def test_a_deployment_of_any_size_is_kept_whole(store):
    async with store() as deployments:
        await deployments.save(large())
        assert await deployments.all() == [large()]
        await deployments.delete("big", 1)
        assert await deployments.all() == []


async def test_a_watcher_sees_what_is_written(store):
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


async def test_changes_are_made_in_the_order_of_the_calls_though_callers_are_cancelled(store):
    """A save that is cancelled and the delete after it leave nothing."""
    async with store() as deployments:
        for number in range(5):
            saving = asyncio.ensure_future(deployments.save(deployment("m", 1, cpu_class=str(number))))
            await asyncio.sleep(0)
            saving.cancel()
            await asyncio.wait([saving])
            await deployments.delete("m", 1)
            assert await deployments.all() == []


async def test_splits_are_kept_beside_deployments(store):
    """Each under its model's name, replaced and forgotten as a whole, and no deployment is taken for one."""
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


@given(st.builds(deployment, st.text("abc", min_size=1), st.integers(1, 9), cpu_class=st.text(max_size=9)))
def test_a_record_gives_its_deployment_back(each):
    """Equal deployments have equal records, and a record is read as what was written."""
    assert from_record(to_record(each)) == each
    again = from_record(to_record(each))
    assert to_record(again) == to_record(each)


@pytest.mark.parametrize("record", [b"", b"noise", to_record(deployment())[:-3]])
def test_a_damaged_record_is_refused(record):
    with pytest.raises(CorruptData):
        from_record(record)


@pytest.mark.services
async def test_a_follower_sees_what_the_leader_wrote(open_agent, consul_program):
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
async def test_only_who_holds_the_leaders_lock_may_write(open_agent, consul_program):
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
async def test_a_record_that_was_never_referred_to_is_swept_away(open_agent, consul_program):
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
async def test_a_record_with_another_content_is_refused_and_others_are_still_followed(
    open_agent, consul_program
):
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
