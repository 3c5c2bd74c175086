"""Leader election by a session in a real Consul."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from onnxmesh.discovery.consul_registrar import ConsulRegistrar
from onnxmesh.discovery.consul_service import service_id
from onnxmesh.discovery.instance import Instance
from onnxmesh.leadership.consul import ConsulLeaderElection, lock_key
from tests.contract.running import healthy_server
from tests.eventually import eventually


@pytest.mark.services
async def test_consul_election_replaces_a_leader_that_fails_its_health_check(open_agent, consul_program):
    """The health check of a killed scheduler fails, which ends its session."""
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
                await living.aclose()  # Consul's health check finds no process at its address any more
                await eventually(lambda: second.status.is_leader)
                assert second.status.term > term
                await eventually(lambda: not first.status.is_leader)


@pytest.mark.services
async def test_consul_election_waits_for_its_checks_and_logs_no_warning(open_agent, consul_program):
    """A session cannot depend on a check that is not registered yet: a healthy start is no interruption."""
    agent = open_agent(consul_program)
    check = f"service:{service_id(agent.access.prefix, Instance('a', 'scheduler', '', 1))}"
    has_checks = []
    election = ConsulLeaderElection(agent, [check], has_checks=lambda: bool(has_checks))
    with capture_logs() as logs:
        async with healthy_server() as address, election.campaign("a", address) as candidate:
            await agent.call(lambda client: client.kv.get("anything"))
            assert not candidate.status.is_leader
            async with ConsulRegistrar(agent).register(
                Instance("a", "scheduler", address, 1)
            ) as registration:
                await registration.wait()
                has_checks.append(check)
                await eventually(lambda: candidate.status.is_leader)
    assert [log for log in logs if log["log_level"] in {"warning", "error"}] == []


@pytest.mark.services
async def test_consul_election_repeats_after_the_session_was_ended_from_outside(open_agent, consul_program):
    agent = open_agent(consul_program)
    async with ConsulLeaderElection(agent).campaign("a", "host:1") as candidate:
        await eventually(lambda: candidate.status.is_leader)
        before = candidate.status
        await agent.call(lambda client: client.session.destroy(before.fence))
        await eventually(lambda: candidate.status.is_leader and candidate.status != before)
        assert candidate.status.term > before.term
        assert candidate.status.fence != before.fence


@pytest.mark.services
async def test_consul_election_ignores_a_key_without_a_leader(open_agent, consul_program):
    """The candidate waits while the lock's holder has not published its name, or is no scheduler."""
    agent = open_agent(consul_program)
    session = await agent.call(lambda client: client.session.create("x", lock_delay=0))
    assert await agent.call(lambda client: client.kv.put(lock_key(agent.access.prefix), "?", acquire=session))
    async with ConsulLeaderElection(agent).campaign("a", "host:1") as candidate:
        await agent.call(lambda client: client.session.info(session))
        assert candidate.status.leader is None
        await agent.call(lambda client: client.session.destroy(session))
        await eventually(lambda: candidate.status.is_leader)
