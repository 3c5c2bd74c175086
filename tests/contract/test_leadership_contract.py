"""Leadership keeps what it promises, whatever stands behind it."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from onnxmesh.discovery.consul_registrar import ConsulRegistrar
from onnxmesh.discovery.consul_service import service_id
from onnxmesh.discovery.instance import Instance
from onnxmesh.leadership.base import Leader, LeaderStatus
from onnxmesh.leadership.consul import ConsulLeaderElection, lock_key
from onnxmesh.leadership.embedded import LEADER_FILE, FileLeaderElection
from tests.contract.running import healthy_server
from tests.eventually import eventually


@pytest.fixture(params=["embedded", pytest.param("consul", marks=pytest.mark.services)])
def leadership(request, tmp_path):
    """`leadership(now_s=None)`: what a candidate of one mesh campaigns with."""
    if request.param == "embedded":
        return lambda **clock: FileLeaderElection(tmp_path, **clock)
    open_agent, program = request.getfixturevalue("open_agent"), request.getfixturevalue("consul_program")
    return lambda **clock: ConsulLeaderElection(open_agent(program), **clock)


async def test_a_candidate_without_a_rival_leads_and_says_who_it_is(leadership):
    async with leadership().campaign("a", "host:1") as candidate:
        await eventually(lambda: candidate.status.is_leader)
        leader = candidate.status.leader
        assert (leader.id, leader.address) == ("a", "host:1")
        assert leader.term > 0
    assert candidate.status == LeaderStatus()


async def test_there_is_one_leader_and_the_others_know_it(leadership):
    async with leadership().campaign("a", "host:1") as first:
        await eventually(lambda: first.status.is_leader)
        async with leadership().campaign("b", "host:2") as second:
            await eventually(lambda: second.status.leader)
            assert second.status.leader == first.status.leader
            assert not second.status.is_leader
            assert first.status.is_leader


async def test_when_the_leader_resigns_another_takes_over_in_a_later_term(leadership):
    async with leadership().campaign("b", "host:2") as second:
        await eventually(lambda: second.status.is_leader)
        campaign = leadership().campaign("c", "host:3")
        third = await campaign.__aenter__()
        await eventually(lambda: third.status.leader)
        term = second.status.term
        revision = third.revision
    while not third.status.is_leader:
        revision, _ = await third.after(revision)
    assert third.status.leader.id == "c"
    assert third.status.term > term
    await campaign.__aexit__(None, None, None)


async def test_terms_grow_though_clocks_go_back(leadership):
    """A leader whose clock is behind still gets a term after the one before."""
    terms = []
    for now_s in (2_000_000_000.0, 1_000_000_000.0, 1_000_000_000.0):
        async with leadership(clock=lambda now_s=now_s: now_s).campaign("a", "host:1") as candidate:
            await eventually(lambda: candidate.status.is_leader)
            terms.append(candidate.status.term)
    assert terms == [2_000_000_000_000, 2_000_000_000_001, 2_000_000_000_002]


def test_a_leader_survives_its_text_and_other_text_is_refused():
    leader = Leader("a", "[::1]:1", 2**60)
    assert Leader.from_json(leader.to_json()) == leader
    for text in ("", "[]", "{}", '{"id": "a"}', "null", '{"id": "a", "address": "b", "term": "x"}'):
        with pytest.raises(ValueError):
            Leader.from_json(text)


async def test_a_leader_that_died_while_it_wrote_keeps_nobody_out(tmp_path):
    (tmp_path / LEADER_FILE).write_text('{"id": "a", "addr')
    async with FileLeaderElection(tmp_path).campaign("b", "host:2") as candidate:
        assert candidate.status.is_leader


@pytest.mark.services
async def test_a_leader_that_fails_its_health_check_is_replaced_though_it_renews_its_session(
    open_agent, consul_program
):
    """What a killed scheduler leaves is a failing check, and its session hangs on it."""
    agent = open_agent(consul_program)
    registered = Instance("a", "scheduler", "", 1)
    check = f"service:{service_id(agent.access.prefix, registered)}"
    living = AsyncExitStack()
    address = await living.enter_async_context(healthy_server())
    instance = Instance("a", "scheduler", address, 1)
    async with ConsulRegistrar(agent).register(instance) as registration:
        await registration.wait()
        async with ConsulLeaderElection(agent, [check]).campaign("a", address) as first:
            await eventually(lambda: first.status.is_leader)
            async with ConsulLeaderElection(open_agent(consul_program)).campaign("b", "host:2") as second:
                await eventually(lambda: second.status.leader == first.status.leader)
                term = first.status.term
                await living.aclose()  # Consul finds nobody at its address any more
                await eventually(lambda: second.status.is_leader)
                assert second.status.term > term
                await eventually(lambda: not first.status.is_leader)


@pytest.mark.services
async def test_a_leader_whose_session_is_ended_from_outside_stands_again(open_agent, consul_program):
    agent = open_agent(consul_program)
    async with ConsulLeaderElection(agent).campaign("a", "host:1") as candidate:
        await eventually(lambda: candidate.status.is_leader)
        before = candidate.status
        await agent.call(lambda client: client.session.destroy(before.fence))
        await eventually(lambda: candidate.status.is_leader and candidate.status != before)
        assert candidate.status.term > before.term
        assert candidate.status.fence != before.fence


@pytest.mark.services
async def test_a_key_that_holds_no_leader_is_no_leader(open_agent, consul_program):
    """A holder that has not said its name, or something else's lock, is waited for."""
    agent = open_agent(consul_program)
    session = await agent.call(lambda client: client.session.create("x", lock_delay=0))
    assert await agent.call(lambda client: client.kv.put(lock_key(agent.access.prefix), "?", acquire=session))
    async with ConsulLeaderElection(agent).campaign("a", "host:1") as candidate:
        await agent.call(lambda client: client.session.info(session))
        assert candidate.status.leader is None
        await agent.call(lambda client: client.session.destroy(session))
        await eventually(lambda: candidate.status.is_leader)
