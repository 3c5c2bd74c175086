"""A process joins through configured schedulers, or through Consul."""

from __future__ import annotations

from onnxmesh.consul.access import ConsulAccess
from onnxmesh.discovery.consul_registrar import ConsulRegistrar
from onnxmesh.discovery.embedded_registrar import EmbeddedRegistrar
from onnxmesh.discovery.mesh_membership import join_mesh
from onnxmesh.discovery.scheduler_addresses import ConfiguredSchedulers, DiscoveredSchedulers

NOWHERE = ConsulAccess(host="127.0.0.1", port=1)


async def test_join_mesh_without_consul_registers_with_the_schedulers():
    async with join_mesh(["a:1"], None) as mesh:
        assert isinstance(mesh.registrar, EmbeddedRegistrar)
        assert mesh.schedulers.addresses == ("a:1",)
        assert mesh.search.why() == "a:1: no reply yet"


async def test_join_mesh_with_consul_discovers_schedulers_unless_they_are_configured():
    async with join_mesh([], NOWHERE, "ttl") as mesh:
        assert isinstance(mesh.registrar, ConsulRegistrar)
        assert isinstance(mesh.schedulers, DiscoveredSchedulers)
        assert mesh.search.why().startswith("Consul at http://127.0.0.1:1 ")
    async with join_mesh(["a:1"], NOWHERE) as mesh:
        assert isinstance(mesh.registrar, ConsulRegistrar)
        assert isinstance(mesh.schedulers, ConfiguredSchedulers)
