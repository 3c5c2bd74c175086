"""The registrar keeps Consul's entry up to date and removes only its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxmesh.discovery.consul_registrar import ConsulRegistrar
from onnxmesh.discovery.consul_service import to_meta
from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import Conflict, InvalidRequest
from tests.fakes.fake_consul_agent import FakeConsulAgent

INSTANCE = Instance("a", "worker", "host:1", 5, ("gpu",), {"cores": "2"})


class Client:
    """Holds services as a Consul agent does."""

    def __init__(self):
        self.agent = self.service = self.check = self
        self.services = {}
        self.heartbeats = []

    def service_definition(self, id_):
        return self.services.get(id_)

    def register(self, name, *, service_id, tags, meta, check, **_):
        self.services[service_id] = {"Name": name, "Tags": tags, "Meta": meta, "Check": check}

    def deregister(self, id_):
        del self.services[id_]

    def ttl_pass(self, check):
        self.heartbeats.append(check)


@pytest.fixture
def client():
    return Client()


async def test_registrar_registers_and_deregisters(client):
    async with ConsulRegistrar(FakeConsulAgent(client)).register(INSTANCE) as registration:
        await registration.wait()
        service = client.services["onnxmesh-worker-a"]
        assert (service["Name"], service["Meta"]) == ("onnxmesh-worker", to_meta(INSTANCE))
        assert service["Check"]["status"] == "passing"
        assert service["Check"]["grpc"] == "host:1"
    assert client.services == {}


async def test_registrar_leaves_the_entry_of_a_newer_generation(client):
    async with ConsulRegistrar(FakeConsulAgent(client)).register(INSTANCE) as registration:
        await registration.wait()
        newer = {"Meta": to_meta(replace(INSTANCE, generation=6))}
        client.services["onnxmesh-worker-a"] = newer
    assert client.services == {"onnxmesh-worker-a": newer}


async def test_renew_registers_changed_attributes_only(client):
    registrar = ConsulRegistrar(FakeConsulAgent(client), check="ttl")
    await registrar._renew(INSTANCE)
    first = client.services["onnxmesh-worker-a"]
    await registrar._renew(INSTANCE)
    assert client.services["onnxmesh-worker-a"] is first
    assert client.heartbeats == ["service:onnxmesh-worker-a"]
    await registrar._renew(replace(INSTANCE, attributes={"cores": "4"}))
    assert client.services["onnxmesh-worker-a"] is not first


async def test_renew_refuses_to_replace_a_newer_generation(client):
    registrar = ConsulRegistrar(FakeConsulAgent(client))
    await registrar._renew(INSTANCE)
    with pytest.raises(Conflict, match="generation 5 is registered"):
        await registrar._renew(replace(INSTANCE, generation=4))


async def test_registrar_refuses_attributes_that_do_not_fit(client):
    too_large = replace(INSTANCE, attributes={"big": "x" * 40_000})
    with pytest.raises(InvalidRequest):
        await ConsulRegistrar(FakeConsulAgent(client)).register(too_large).__aenter__()
