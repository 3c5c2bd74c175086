"""How a process joins a mesh: through schedulers that were named, or through Consul."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from onnxmesh.consul.access import ConsulAccess
from onnxmesh.consul.agent import ConsulAgent
from onnxmesh.discovery.base import Registrar
from onnxmesh.discovery.consul_directory import ConsulDirectory
from onnxmesh.discovery.consul_registrar import CheckKind, ConsulRegistrar
from onnxmesh.discovery.embedded_registrar import EmbeddedRegistrar
from onnxmesh.discovery.schedulers import FoundSchedulers, NamedSchedulers, Schedulers


@dataclass(frozen=True, slots=True)
class Joining:
    """The way into a mesh.

    Attributes:
        registrar: Keeps this process registered.
        schedulers: Where the schedulers are.
    """

    registrar: Registrar
    schedulers: Schedulers


@asynccontextmanager
async def joining(
    addresses: Sequence[str], access: ConsulAccess | None, check: CheckKind = "grpc"
) -> AsyncIterator[Joining]:
    """Opens the way into a mesh for the time of the context.

    Args:
        addresses: Schedulers that were named; with Consul, those to use in place of the ones found there.
        access: How Consul is reached; None: the schedulers have the registry.
        check: Who proves to Consul that the process lives.
    """
    named = NamedSchedulers(addresses)
    if access is None:
        yield Joining(EmbeddedRegistrar(addresses), named)
        return
    agent = ConsulAgent(access)
    try:
        registrar = ConsulRegistrar(agent, check=check)
        if addresses:
            yield Joining(registrar, named)
            return
        directory = ConsulDirectory(agent, ["scheduler"])
        async with asyncio.TaskGroup() as group:
            following = group.create_task(directory.run())
            try:
                yield Joining(registrar, FoundSchedulers(directory))
            finally:
                following.cancel()
    finally:
        agent.close()
