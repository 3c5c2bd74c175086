"""Registration with Consul."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from consul import Check

from onnxmesh.consul.agent import ConsulAgent
from onnxmesh.consul.outage_notice import OutageNotice
from onnxmesh.discovery.consul_service import CheckKind, generation_of, service_id, service_name, to_meta
from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.registration import Registration
from onnxmesh.errors import Conflict, MeshError

CHECK_INTERVAL_S = 1.0
"""Time between two checks; the shortest that Consul allows."""

CHECK_TIMEOUT_S = 0.8
"""Time-out of a health check."""

TTL_S = 1.5
"""Time without a heartbeat after which a process is unhealthy."""

DEREGISTER_AFTER_S = 60
"""Consul removes a service that fails for this long; the shortest that it allows."""

_HEARTBEAT_S = 0.4
_DEREGISTRATION_TIMEOUT_S = 2.0

_log = structlog.get_logger(__name__)


class ConsulRegistrar:
    """The `Registrar` of a mesh that registers in Consul.

    Args:
        agent: The Consul agent of this machine.
        check: Health check of the process.
    """

    def __init__(self, agent: ConsulAgent, *, check: CheckKind = "grpc") -> None:
        self._agent = agent
        self._check: CheckKind = check

    @asynccontextmanager
    async def register(self, instance: Instance) -> AsyncIterator[Registration]:
        """Registers `instance` for the duration of the context, again whenever Consul has lost it.

        Entering does not wait for Consul: `Registration.wait` does. The process must already serve: Consul takes it as
        healthy until the first check.

        Raises:
            InvalidRequest: Its attributes do not fit into a service's meta (INVALID_ARGUMENT).
        """
        to_meta(instance)  # raises here, not in the background task
        registration = Registration(instance)
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._keep(registration))
            try:
                yield registration
            finally:
                keeping.cancel()
                await asyncio.wait([keeping])
                await self._deregister(instance)

    async def _keep(self, registration: Registration) -> None:
        period_s = CHECK_INTERVAL_S if self._check == "grpc" else _HEARTBEAT_S
        notice = OutageNotice()
        while True:
            try:
                await self._renew(registration.instance)
            except MeshError as error:
                if notice.is_due(error.message):
                    _log.warning("registration_lost", id=registration.instance.id, error=error.message)
                registration.mark_lost()
            else:
                notice.end()
                registration.mark_held()
            await asyncio.sleep(period_s)

    async def _renew(self, instance: Instance) -> None:
        """Registers the instance if Consul does not have it in this form, and sends the heartbeat of a TTL check.

        Raises:
            Conflict: A newer generation has the id (ALREADY_EXISTS).
            MeshError: Consul is unreachable or refuses it.
        """
        id_ = service_id(self._agent.access.prefix, instance)
        held = await self._agent.call(lambda client: client.agent.service_definition(id_))
        generation = -1 if held is None else generation_of(held)
        if generation > instance.generation:
            raise Conflict(
                f"{instance.role} '{instance.id}' of generation {instance.generation} is out of date: "
                f"generation {generation} is registered"
            )
        meta = to_meta(instance)
        if held is None or generation < instance.generation or not _is_up_to_date(held, instance, meta):
            await self._register(id_, instance, meta)
            _log.info("registered", id=instance.id, role=instance.role, address=instance.address)
        elif self._check == "ttl":
            await self._agent.call(lambda client: client.agent.check.ttl_pass(f"service:{id_}"))

    async def _register(self, id_: str, instance: Instance, meta: dict[str, str]) -> None:
        host, _, port = instance.address.rpartition(":")
        await self._agent.call(
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
                f"{CHECK_INTERVAL_S:g}s",
                timeout=f"{round(1000 * CHECK_TIMEOUT_S)}ms",
                deregister=f"{DEREGISTER_AFTER_S}s",
            )
        else:
            check = Check.ttl(f"{TTL_S:g}s")
            check["DeregisterCriticalServiceAfter"] = f"{DEREGISTER_AFTER_S}s"
        # It serves already, so it may be routed to before the first check.
        return {**check, "status": "passing"}

    async def _deregister(self, instance: Instance) -> None:
        id_ = service_id(self._agent.access.prefix, instance)
        try:
            async with asyncio.timeout(_DEREGISTRATION_TIMEOUT_S):
                held = await self._agent.call(lambda client: client.agent.service_definition(id_))
                if held is not None and generation_of(held) == instance.generation:
                    await self._agent.call(lambda client: client.agent.service.deregister(id_))
                    _log.info("deregistered", id=instance.id, role=instance.role)
        except (MeshError, TimeoutError) as error:
            # Its check fails from now on, which removes it as well.
            _log.warning("deregistration_failed", id=instance.id, error=str(error))


def _is_up_to_date(held: Mapping[str, Any], instance: Instance, meta: dict[str, str]) -> bool:
    """Whether the registered service has the instance's present tags and attributes."""
    return dict(held.get("Meta") or {}) == meta and tuple(held.get("Tags") or ()) == instance.tags
