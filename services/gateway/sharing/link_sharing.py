"""Links that workers have measured, shared among gateways."""

from __future__ import annotations

from collections.abc import Callable

from onnxmesh.ids import WorkerId
from onnxmesh.live.base import LiveState
from onnxmesh.live.link_topic import LinkCodec, SharedLink
from onnxmesh.live.shared_topic import SharedTopic
from onnxmesh.routing.network import MeasuredLink
from onnxmesh.v1.frame_pb2 import Load

LINK_PERIOD_S = 2.0
"""Time between two exchanges of links."""

LINK_TTL_S = 60.0
"""A link that is not published again for so long expires."""

LINK_FRESH_S = 20.0
"""An unchanged link is published again so often, by one gateway for all."""

ObserveLink = Callable[[WorkerId, WorkerId, MeasuredLink], None]
"""Records a measured link from one worker to another."""

GenerationOf = Callable[[WorkerId], int | None]
"""Returns the generation of a worker in the route table; None where the table does not have the worker."""


class LinkSharing:
    """Records the links that workers report, and exchanges them with other gateways.

    Every worker reports to every gateway; the first gateway that publishes a link does so for all. A link that another
    gateway has published counts only where no worker has reported it to this one.

    Args:
        gateway: Id of this gateway.
        live: Live state.
        observe: Records a link.
        generation: Of a worker, by which links of its former processes are ignored.
    """

    def __init__(
        self, gateway: str, live: LiveState, *, observe: ObserveLink, generation: GenerationOf
    ) -> None:
        self._gateway = gateway
        self._observe = observe
        self._generation = generation
        self._topic = SharedTopic(live, LinkCodec(), self._is_current)

    def observe_load(self, worker: WorkerId, load: Load) -> None:
        """Records the links in a worker's report, and offers them to other gateways."""
        generation = self._generation(worker)
        for link in load.links:
            target = WorkerId(link.node)
            target_generation = self._generation(target)
            if generation is None or target_generation is None or not link.round_trip_us:
                continue
            round_trip_s, bytes_per_s = link.round_trip_us / 1e6, link.bytes_per_s or None
            self._observe(worker, target, MeasuredLink(round_trip_s, bytes_per_s))
            self._topic.offer(
                SharedLink(worker, target, generation, target_generation, round_trip_s, bytes_per_s)
            )

    def exchange(self) -> None:
        """Records the newest link of another gateway for each pair, and publishes the offered links."""
        for items in self._topic.received().values():
            link = next((each.item for each in items if each.writer != self._gateway), None)
            if link is not None:
                self._observe(WorkerId(link.origin), WorkerId(link.target), _measured(link, is_relayed=True))
        self._topic.publish_offered(
            LINK_TTL_S, LINK_FRESH_S, lambda link, other: _measured(link).is_similar_to(_measured(other))
        )

    def _is_current(self, link: SharedLink) -> bool:
        """Whether a link is one between the very processes that the route table has."""
        generations = self._generation(WorkerId(link.origin)), self._generation(WorkerId(link.target))
        return generations == (link.origin_generation, link.target_generation)


def _measured(link: SharedLink, *, is_relayed: bool = False) -> MeasuredLink:
    return MeasuredLink(link.round_trip_s, link.bytes_per_s, is_relayed)
