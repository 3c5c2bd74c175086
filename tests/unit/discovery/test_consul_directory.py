"""The directory follows every role, and keeps its last view during an outage."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from onnxmesh.discovery.consul_directory import ConsulDirectory
from onnxmesh.discovery.consul_service import to_meta
from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import Unavailable
from tests.eventually import eventually
from tests.fakes.fake_consul_agent import FakeConsulAgent

WORKER = Instance("w", "worker", "w:1", 5)


def entry(instance, status="passing"):
    host, _, port = instance.address.rpartition(":")
    service = {"ID": instance.id, "Address": host, "Port": int(port), "Tags": [], "Meta": to_meta(instance)}
    return {"Service": service, "Checks": [{"Status": status}]}


class Client:
    """Lists services under a name, with an index that grows."""

    def __init__(self, **services):
        self.health = self
        self.services = services
        self.index = 0

    def service(self, name, *, index, wait):
        self.index += 1
        return str(self.index), self.services.get(name.removeprefix("onnxmesh-"), [])


@asynccontextmanager
async def running(directory):
    task = asyncio.ensure_future(directory.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_directory_lists_healthy_instances_of_a_mesh_only():
    foreign = {"Service": {"ID": "db", "Address": "db", "Port": 1}, "Checks": []}
    ill = entry(Instance("x", "worker", "x:1", 5), status="critical")
    client = Client(worker=[entry(WORKER), foreign, ill])
    directory = ConsulDirectory(FakeConsulAgent(client))
    async with running(directory):
        await directory.wait_known()
        assert dict(directory.instances) == {"w": WORKER}
        assert not directory.stale


async def test_directory_keeps_its_view_while_consul_is_unreachable():
    client = Client(worker=[entry(WORKER)])
    agent = FakeConsulAgent(client)
    directory = ConsulDirectory(agent, ["worker"])
    async with running(directory):
        revision, _ = await directory.after(1)
        agent.failures += [Unavailable("away")] * 2
        await eventually(lambda: directory.stale)
        assert dict(directory.instances) == {"w": WORKER}
        client.services["worker"] = [entry(WORKER), entry(Instance("v", "worker", "v:1", 6))]
        _, instances = await directory.after(revision)
        assert instances.keys() == {"v", "w"}
        assert not directory.stale
