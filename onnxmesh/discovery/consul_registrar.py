"""Registering with Consul."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import structlog
from consul import Check

from onnxmesh.consul.agent import ConsulAgent
from onnxmesh.discovery.consul_service import generation_of, service_id, service_name, to_meta
from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.registration import Registration
from onnxmesh.errors import Conflict, MeshError

CheckKind = Literal["grpc", "ttl"]
"""Who proves that a process lives: Consul asks its gRPC health service, or it tells Consul itself, which also
works where the agent cannot reach it."""

CHECK_EVERY_S = 1.0
"""Time between two checks; Consul's shortest."""

CHECK_TIMEOUT_S = 0.8
"""How long a health check may take."""

TTL_S = 1.5
"""A process that has not told Consul for so long is unhealthy."""

FORGOTTEN_AFTER_S = 60
"""A service that fails for so long is forgotten by Consul; its shortest."""

_HEARTBEAT_S = 0.4
_LEAVE_S = 2.0

_log = structlog.get_logger(__name__)


class ConsulRegistrar:
    """The `Registrar` of a mesh that registers in Consul.

    Args:
        agent: The Consul agent of this machine.
        check: Who proves that the process lives.
    """

    def __init__(self, agent: ConsulAgent, *, check: CheckKind = "grpc") -> None:
        self._agent = agent
        self._check: CheckKind = check

    @asynccontextmanager
    async def register(self, instance: Instance) -> AsyncIterator[Registration]:
        """Registers `instance` for the time of the context, and again whenever Consul has forgotten it.

        Entering does not wait for Consul: `Registration.wait` does. The process must serve by then: it is
        called healthy until the first check.

        Raises:
            InvalidRequest: Its attributes do not fit into a service's meta (INVALID_ARGUMENT).
        """
        to_meta(instance)  # raises what nobody else could be told of
        registration = Registration(instance)
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._keep(registration))
            try:
                yield registration
            finally:
                keeping.cancel()
                await asyncio.wait([keeping])
                await self._leave(instance)

    async def _keep(self, registration: Registration) -> None:
        period_s = CHECK_EVERY_S if self._check == "grpc" else _HEARTBEAT_S
        last = ""
        while True:
            try:
                await self._renew(registration.instance)
            except MeshError as error:
                if error.message != last:
                    _log.warning("registration_lost", id=registration.instance.id, error=error.message)
                last = error.message
                registration.lost()
            else:
                last = ""
                registration.gained()
            await asyncio.sleep(period_s)

    async def _renew(self, instance: Instance) -> None:
        """Registers if Consul does not have this generation as it is, and tells it that the process lives.

        Raises:
            Conflict: A newer generation has the id (ALREADY_EXISTS).
            MeshError: Consul is away or does not take it.
        """
        id_ = service_id(self._agent.access.prefix, instance)
        held = await self._agent.ask(lambda client: client.agent.service_definition(id_))
        generation = -1 if held is None else generation_of(held)
        if generation > instance.generation:
            raise Conflict(
                f"{instance.role} '{instance.id}' of generation {instance.generation} is out of date: "
                f"generation {generation} is registered"
            )
        meta = to_meta(instance)
        if held is None or generation < instance.generation or not _says(held, instance, meta):
            await self._register(id_, instance, meta)
            _log.info("registered", id=instance.id, role=instance.role, address=instance.address)
        elif self._check == "ttl":
            await self._agent.ask(lambda client: client.agent.check.ttl_pass(f"service:{id_}"))

    async def _register(self, id_: str, instance: Instance, meta: dict[str, str]) -> None:
        host, _, port = instance.address.rpartition(":")
        await self._agent.ask(
            lambda client: client.agent.service.register(
                service_name(self._agent.access.prefix, instance.role),
                service_id=id_,
                address=host,
                port=int(port),
                tags=list(instance.tags),
                meta=meta,
                check=self._definition(instance),
                replace_existing_checks=True,
            )
        )

    def _definition(self, instance: Instance) -> dict[str, Any]:
        if self._check == "grpc":
            check = Check.grpc(
                instance.address,
                f"{CHECK_EVERY_S:g}s",
                timeout=f"{round(1000 * CHECK_TIMEOUT_S)}ms",
                deregister=f"{FORGOTTEN_AFTER_S}s",
            )
        else:
            check = Check.ttl(f"{TTL_S:g}s")
            check["DeregisterCriticalServiceAfter"] = f"{FORGOTTEN_AFTER_S}s"
        # It serves already: that Consul has not asked yet is no reason to keep it out.
        return {**check, "status": "passing"}

    async def _leave(self, instance: Instance) -> None:
        id_ = service_id(self._agent.access.prefix, instance)
        try:
            async with asyncio.timeout(_LEAVE_S):
                held = await self._agent.ask(lambda client: client.agent.service_definition(id_))
                if held is not None and generation_of(held) == instance.generation:
                    await self._agent.ask(lambda client: client.agent.service.deregister(id_))
                    _log.info("deregistered", id=instance.id, role=instance.role)
        except (MeshError, TimeoutError) as error:
            # Its check will fail from now on, which takes it out as well.
            _log.warning("deregistration_failed", id=instance.id, error=str(error))


def _says(held: Mapping[str, Any], instance: Instance, meta: dict[str, str]) -> bool:
    """Whether a service that is registered already says what the instance says of itself now."""
    return dict(held.get("Meta") or {}) == meta and tuple(held.get("Tags") or ()) == instance.tags
