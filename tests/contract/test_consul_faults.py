"""Consul is unreachable, comes back, has lost its data, or requires a token."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import AsyncExitStack

import pytest

from onnxmesh.consul.access import ConsulAccess
from onnxmesh.consul.agent import ConsulAgent
from onnxmesh.discovery.consul_directory import ConsulDirectory
from onnxmesh.discovery.consul_registrar import ConsulRegistrar
from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import Unavailable
from onnxmesh.leadership.consul import ConsulLeaderElection
from onnxmesh.state.base import Deployment
from onnxmesh.state.consul import open_consul_deployments
from onnxmesh.state.traffic_split import TrafficSplit
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Plan
from tests.contract.running import healthy_server, running
from tests.eventually import BUSY_S, eventually
from tests.fakes.service_program import ConsulProgram, free_ports

pytestmark = pytest.mark.services

SPLIT = TrafficSplit("m", {1: 90, 2: 10}, {})
DEPLOYMENT = Deployment(DeploymentSpec(name="m", version=1), Plan(), Artefact(digest="d"))


def agent_of(port, **access):
    return ConsulAgent(ConsulAccess(host="127.0.0.1", port=port, wait_s=1.0, timeout_s=1.0, **access))


@pytest.mark.parametrize("fault", ["killed", "frozen", "wiped"])
async def test_directory_keeps_its_view_during_an_outage_and_reconciles_after(fault, tmp_path):
    """The last view is kept while Consul is unreachable, also when it comes back without data; then it is exact again."""
    async with AsyncExitStack() as stack:
        consul = stack.enter_context(ConsulProgram(tmp_path / "consul"))
        agent = agent_of(consul.port)
        stack.callback(agent.close)
        directory = ConsulDirectory(agent)
        await stack.enter_async_context(running(directory.run()))
        stays, leaves = [await stack.enter_async_context(healthy_server()) for _ in range(2)]
        first, second = Instance("a", "worker", stays, 1), Instance("b", "worker", leaves, 1)
        await stack.enter_async_context(ConsulRegistrar(agent).register(first))
        leaving = AsyncExitStack()
        await leaving.enter_async_context(ConsulRegistrar(agent).register(second))
        await eventually(lambda: len(directory.instances) == 2)
        revision, everyone = await directory.after(0)

        consul.freeze() if fault == "frozen" else consul.kill()
        await eventually(lambda: directory.stale)
        await leaving.aclose()  # its deregistration cannot reach Consul
        assert directory.instances == everyone
        if fault == "wiped":
            remove(tmp_path / "consul" / "data")
        if fault == "frozen":
            consul.thaw()
        else:
            await asyncio.to_thread(consul.start)
        watched = asyncio.ensure_future(directory.after(revision))
        await eventually(lambda: not directory.stale)
        late = await stack.enter_async_context(healthy_server())
        await stack.enter_async_context(ConsulRegistrar(agent).register(Instance("c", "worker", late, 1)))
        await eventually(lambda: "c" in directory.instances)
        _, seen = await watched
        assert "a" in seen
        if fault == "wiped":  # no process serves at the address of b; it was listed only in the lost data
            await eventually(lambda: set(directory.instances) == {"a", "c"})
        else:
            assert "a" in directory.instances


def remove(folder):
    subprocess.run(["rm", "-rf", str(folder)], check=True)


async def test_leader_keeps_leading_during_an_outage_and_its_writes_wait(tmp_path):
    """An outage alone deposes no leader: one that still has its session afterwards has led all the time."""
    with ConsulProgram(tmp_path / "consul") as consul:
        agent = agent_of(consul.port)
        async with ConsulLeaderElection(agent).campaign("a", "host:1") as candidate:
            await eventually(lambda: candidate.status.is_leader)
            term = candidate.status.term
            async with open_consul_deployments(agent, lambda: candidate.status.fence) as store:
                consul.kill()
                saving = asyncio.ensure_future(store.save(DEPLOYMENT))
                with pytest.raises(Unavailable):
                    await agent.call(lambda client: client.kv.get("x"))
                assert candidate.status.is_leader
                await asyncio.to_thread(consul.start)
                await saving
                assert await store.all() == [DEPLOYMENT]
                await eventually(lambda: candidate.status.is_leader)
                assert candidate.status.term >= term
        agent.close()


async def test_deployments_are_restored_in_a_consul_that_lost_its_state(tmp_path):
    """What schedulers know survives Consul's memory: nothing is taken for undeployed, and a leader writes it down."""
    with ConsulProgram(tmp_path / "consul") as consul:
        agent = agent_of(consul.port)
        fences = [""]
        async with (
            open_consul_deployments(agent, lambda: fences[-1]) as follower,
            ConsulLeaderElection(agent).campaign("a", "host:1") as candidate,
        ):
            await eventually(lambda: candidate.status.is_leader)
            async with open_consul_deployments(agent, lambda: candidate.status.fence) as leader:
                await leader.save_split(SPLIT)
                await leader.save(DEPLOYMENT)
            revision = 0
            while not (await follower.after(revision))[1]:
                revision, _ = await follower.after(revision)
            before = candidate.status.fence
            consul.kill()
            remove(tmp_path / "consul" / "data")
            await asyncio.to_thread(consul.start)
            assert await follower.all() == [DEPLOYMENT]
            assert (await follower.after(0))[1] == [DEPLOYMENT]
            assert await follower.splits() == [SPLIT]
            await eventually(lambda: candidate.status.is_leader and candidate.status.fence != before)
            fences.append(candidate.status.fence)
            assert await follower.all() == [DEPLOYMENT]
            async with open_consul_deployments(agent) as stranger:
                seen = 0
                async with asyncio.timeout(BUSY_S):
                    while (await stranger.after(seen))[1] != [DEPLOYMENT]:
                        seen, _ = await stranger.after(seen)
                    while await stranger.splits() != [SPLIT]:  # noqa: ASYNC110 - they are written down after the deployments
                        await asyncio.sleep(0.01)
            await follower.delete("m", 1)
            assert await follower.all() == []
        agent.close()


async def test_agent_needs_the_right_token(tmp_path):
    """Every request to Consul carries the token; a wrong token is reported."""
    master = "11111111-2222-3333-4444-555555555555"
    acl = f'acl {{ enabled = true, default_policy = "deny", tokens {{ master = "{master}", agent = "{master}" }} }}'
    with ConsulProgram(tmp_path / "consul", config=acl, token=master) as consul:
        agent, stranger = agent_of(consul.port, token=master), agent_of(consul.port, token="wrong")
        await _all_of_it(agent)
        with pytest.raises(Unavailable, match="refuses this token"):
            await stranger.call(lambda client: client.kv.put("x", "y"))
        assert master not in repr(agent.access)
        agent.close()
        stranger.close()


async def test_agent_uses_tls_and_datacenter(tmp_path):
    """The agent's certificate is accepted only from the configured authority."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=consul",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    (https,) = free_ports(1)
    config = f'datacenter = "edge"\nports {{ https = {https} }}\ncert_file = "{cert}"\nkey_file = "{key}"\n'
    with ConsulProgram(tmp_path / "consul", config=config):
        agent = agent_of(https, scheme="https", ca=cert, datacenter="edge")
        await _all_of_it(agent)
        agent.close()
        for access in (
            {"scheme": "https", "datacenter": "edge"},
            {"scheme": "https", "ca": cert, "datacenter": "x"},
        ):
            stranger = agent_of(https, **access)
            with pytest.raises(Unavailable):
                await stranger.call(lambda client: client.kv.get("x"))
            stranger.close()


async def _all_of_it(agent):
    """Registers, follows, leads and writes through `agent`."""
    directory = ConsulDirectory(agent)
    async with healthy_server() as address, running(directory.run()):
        instance = Instance("a", "scheduler", address, 1, ("t",), {"k": "v"})
        async with ConsulRegistrar(agent).register(instance) as registration:
            await registration.wait()
            await eventually(lambda: dict(directory.instances) == {"a": instance})
            async with ConsulLeaderElection(agent).campaign("a", address) as candidate:
                await eventually(lambda: candidate.status.is_leader)
                async with open_consul_deployments(agent, lambda: candidate.status.fence) as store:
                    await store.save(DEPLOYMENT)
                    assert await store.all() == [DEPLOYMENT]
                    await store.delete("m", 1)
                    await store.sweep()
        await eventually(lambda: not directory.instances)
