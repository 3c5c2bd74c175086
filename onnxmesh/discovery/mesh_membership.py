"""Membership of a process in a mesh: through configured schedulers, or through Consul."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from onnxmesh.consul.access import ConsulAccess
from onnxmesh.discovery.base import Registrar
from onnxmesh.discovery.consul_service import CheckKind
from onnxmesh.discovery.embedded_registrar import EmbeddedRegistrar
from onnxmesh.discovery.scheduler_addresses import (
    ConfiguredSchedulers,
    DiscoveredSchedulers,
    SchedulerAddresses,
)
from onnxmesh.discovery.scheduler_search import SchedulerSearch


@dataclass(frozen=True, slots=True)
class MeshMembership:
    """What a process needs to take part in a mesh.

    Attributes:
        registrar: Keeps this process registered.
        schedulers: The addresses of the schedulers.
        search: Whether a scheduler is found; its owner reports what it finds, and runs it.
    """

    registrar: Registrar
    schedulers: SchedulerAddresses
    search: SchedulerSearch


@asynccontextmanager
async def join_mesh(
    addresses: Sequence[str], access: ConsulAccess | None, check: CheckKind = "grpc"
) -> AsyncIterator[MeshMembership]:
    """Opens the membership in a mesh for the duration of the context.

    Args:
        addresses: Configured schedulers; with Consul, they replace the discovered ones.
        access: Address and credentials of Consul; None: the schedulers have the registry.
        check: Health check by which Consul watches the process.
    """
    configured = ConfiguredSchedulers(addresses)
    search = SchedulerSearch(configured)
    if access is None:
        yield MeshMembership(EmbeddedRegistrar(addresses, on_failure=search.failed), configured, search)
        return

    # Imported only where Consul is used: its client library is a large part of a service's start.
    from onnxmesh.consul.agent import ConsulAgent  # noqa: PLC0415 - see above
    from onnxmesh.discovery.consul_directory import ConsulDirectory  # noqa: PLC0415 - see above
    from onnxmesh.discovery.consul_registrar import ConsulRegistrar  # noqa: PLC0415 - see above

    agent = ConsulAgent(access)
    try:
        registrar = ConsulRegistrar(agent, check=check)
        if addresses:
            yield MeshMembership(registrar, configured, search)
            return
        directory = ConsulDirectory(agent, ["scheduler"])
        async with asyncio.TaskGroup() as group:
            following = group.create_task(directory.run())
            try:
                discovered = DiscoveredSchedulers(
                    directory,
                    lambda: (
                        f"Consul at {access.address} {'does not answer' if directory.stale else 'has none'}"
                    ),
                )
                yield MeshMembership(registrar, discovered, SchedulerSearch(discovered))
            finally:
                following.cancel()
    finally:
        agent.close()
