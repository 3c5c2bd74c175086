"""Everything that a gateway shares with the others, while it shares anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from onnxmesh.ids import WorkerId
from onnxmesh.live.embedded import OwnLiveState
from onnxmesh.live.redis import RedisLiveState
from onnxmesh.v1.frame_pb2 import Load
from services.gateway.routes.router import Router
from services.gateway.sharing import shared_ejections, shared_link_estimates, shared_loads
from services.gateway.sharing.shared_ejections import SharedEjections
from services.gateway.sharing.shared_link_estimates import SharedLinkEstimates
from services.gateway.sharing.shared_loads import SharedLoads


class Sharing:
    """Tells others what workers say to this gateway, and its router what they say to others.

    Args:
        gateway: This gateway's id.
        live: Where it is shared.
        router: Goes by it.
    """

    def __init__(self, gateway: str, live: OwnLiveState | RedisLiveState, router: Router) -> None:
        self._live = live
        self._loads = SharedLoads(gateway, live, router.observe_load)
        self._ways = SharedLinkEstimates(gateway, live, router.observe_link, router.generation)
        self._ejections = SharedEjections(gateway, live, router.ejections)

    def said(self, worker: WorkerId, load: Load) -> None:
        """Takes a worker's report to this gateway."""
        self._loads.said(worker, load)
        self._ways.said(worker, load)

    async def run(self) -> None:
        """Listens to others until it is cancelled; returns at once where nothing is shared."""
        if not isinstance(self._live, RedisLiveState):
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._live.run())
            group.create_task(_every(shared_loads.PERIOD_S, self._loads.listen))
            group.create_task(_every(shared_link_estimates.PERIOD_S, self._ways.listen))
            group.create_task(_every(shared_ejections.PERIOD_S, self._ejections.listen))


async def _every(period_s: float, listen: Callable[[], None]) -> None:
    while True:
        listen()
        await asyncio.sleep(period_s)
