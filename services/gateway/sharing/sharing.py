"""The exchange of loads, links and ejections with other gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from onnxmesh.ids import WorkerId
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.live.load_topic import LoadCodec, WorkerLoad
from onnxmesh.live.shared_topic import SharedTopic
from onnxmesh.v1.frame_pb2 import Load
from services.gateway.routes.router import Router
from services.gateway.sharing.ejection_sharing import EJECTION_PERIOD_S, EjectionSharing
from services.gateway.sharing.link_sharing import LINK_PERIOD_S, LinkSharing

if TYPE_CHECKING:
    from onnxmesh.live.redis import RedisLiveState

LOAD_PERIOD_S = 0.5
"""Time between two looks at the loads that other gateways have published."""

LOAD_TTL_S = 3.0
"""A load that is older is of no use."""


class Sharing:
    """Publishes what workers report to this gateway, and applies what other gateways publish to the router.

    So a gateway that has just started, or has not sent anything to a worker yet, chooses by what the others know.

    Args:
        gateway: Id of this gateway.
        live: Live state.
        router: Its balancer is updated.
    """

    def __init__(self, gateway: str, live: EmbeddedLiveState | RedisLiveState, router: Router) -> None:
        self._gateway = gateway
        self._live = live
        self._router = router
        self._loads = SharedTopic(live, LoadCodec())
        self._links = LinkSharing(gateway, live, observe=router.observe_link, generation=router.generation)
        self._ejections = EjectionSharing(gateway, live, router.ejections)

    def observe_load(self, worker: WorkerId, load: Load) -> None:
        """Publishes a worker's report to this gateway."""
        self._loads.publish(WorkerLoad(worker, load), LOAD_TTL_S)
        self._links.observe_load(worker, load)

    async def run(self) -> None:
        """Exchanges with other gateways until it is cancelled; returns at once where nothing is shared."""
        if isinstance(self._live, EmbeddedLiveState):
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._live.run())
            group.create_task(_every(LOAD_PERIOD_S, self.exchange_loads))
            group.create_task(_every(LINK_PERIOD_S, self._links.exchange))
            group.create_task(_every(EJECTION_PERIOD_S, self._ejections.exchange))

    def exchange_loads(self) -> None:
        """Applies each load that another gateway has published, unless this one's own is newer."""
        for newest, *_ in self._loads.received().values():
            if newest.writer != self._gateway:
                self._router.observe_load(newest.item.worker, newest.item.load)


async def _every(period_s: float, exchange: Callable[[], None]) -> None:
    while True:
        exchange()
        await asyncio.sleep(period_s)
