"""Directory of the processes that are registered in Consul."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import structlog

from onnxmesh.consul.agent import ConsulAgent, retry_unavailable
from onnxmesh.consul.blocking_query import BlockingQuery
from onnxmesh.deadline import Clock
from onnxmesh.discovery.consul_service import from_service, service_name
from onnxmesh.discovery.instance import ROLES, Instance, Role
from onnxmesh.discovery.settled_view import SettledView
from onnxmesh.discovery.stale_entries import without_stale_entries
from onnxmesh.errors import InvalidRequest, MeshError, Unavailable
from onnxmesh.latest import Latest

_UNSETTLED_WAIT_S = 0.2

_log = structlog.get_logger(__name__)


class ConsulDirectory:
    """The `Directory` of a mesh that registers in Consul; `run` must run beside it.

    While Consul is unreachable the last view is kept, marked stale.

    Args:
        agent: The Consul agent.
        roles: The roles to follow.
        clock: Seconds, monotonic.
        view: Makes the view of one role.
    """

    def __init__(
        self,
        agent: ConsulAgent,
        roles: Sequence[Role] = ROLES,
        *,
        clock: Clock = monotonic,
        view: Callable[[], SettledView] = SettledView,
    ) -> None:
        self._agent = agent
        self._clock = clock
        self._views: dict[Role, SettledView] = {role: view() for role in roles}
        self._unread = set(roles)
        self._latest: Latest[Mapping[str, Instance]] = Latest({})
        self._known = asyncio.Event()

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Every registered process, by id."""
        return self._latest.value

    @property
    def stale(self) -> bool:
        """Whether Consul is unreachable, so that this is its last known state."""
        return any(view.stale for view in self._views.values())

    async def after(self, revision: int) -> tuple[int, Mapping[str, Instance]]:
        """Waits for a revision greater than `revision` (0: any) and returns it with its instances."""
        return await self._latest.after(revision)

    async def wait_known(self) -> None:
        """Returns once Consul has answered for every role."""
        await self._known.wait()

    async def run(self) -> None:
        """Follows Consul until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for role in self._views:
                group.create_task(self._follow(role))

    async def _follow(self, role: Role) -> None:
        name = service_name(self._agent.access.prefix, role)
        view = self._views[role]
        query = BlockingQuery(
            self._agent, lambda client, index, wait: client.health.service(name, index=index, wait=wait)
        )

        async def next_answer() -> list[dict[str, Any]]:
            try:
                entries: list[dict[str, Any]] = await query.next(
                    _UNSETTLED_WAIT_S if view.unsettled else None
                )
            except MeshError as error:
                if not view.stale:
                    _log.warning("consul_unreachable", role=role, error=error.message)
                view.mark_stale()
                if isinstance(error, Unavailable):
                    raise
                raise Unavailable(error.message) from error  # the only registry there is: try again
            if view.stale:
                _log.info("consul_reachable", role=role)
            return entries

        while True:
            entries = await retry_unavailable(next_answer)
            view.observe(
                _instances(entries, role, passing=True),
                _instances(entries, role, passing=False),
                self._clock(),
            )
            self._publish()
            self._unread.discard(role)
            if not self._unread:
                self._known.set()

    def _publish(self) -> None:
        instances = without_stale_entries(
            instance for view in self._views.values() for instance in view.instances.values()
        )
        if instances != self._latest.value:
            self._latest.set(instances)


def _instances(entries: Sequence[Mapping[str, Any]], role: Role, *, passing: bool) -> dict[str, Instance]:
    found = []
    for entry in entries:
        healthy = all(check["Status"] == "passing" for check in entry["Checks"])
        if healthy is not passing:
            continue
        try:
            found.append(from_service(entry["Service"], role))
        except InvalidRequest as error:
            _log.warning("service_ignored", service=entry["Service"].get("ID"), error=error.message)
    return without_stale_entries(found)
