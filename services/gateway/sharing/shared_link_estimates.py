"""What workers measure of the ways between them, shared among gateways."""

from __future__ import annotations

from collections.abc import Callable

from onnxmesh.ids import WorkerId
from onnxmesh.live.base import LiveState, Topic
from onnxmesh.live.link_figures import LinkFigure
from onnxmesh.routing.network import MeasuredLink
from onnxmesh.v1.frame_pb2 import Load

PERIOD_S = 2.0
"""Time between two looks at what other gateways say."""

TTL_S = 60.0
"""What has not been said again for so long is forgotten."""

SAID_AGAIN_S = 20.0
"""A way that stays as it is is said again so often, by one gateway for all."""

MAX_LINKS = 2000
"""Ways that one gateway says; beyond, the oldest are not."""

Hear = Callable[[WorkerId, WorkerId, MeasuredLink], None]
"""Is given a way between two workers."""


class SharedLinkEstimates:
    """Tells the policy, and other gateways, what workers measure, and the policy what others say.

    Every worker tells every gateway; the first to publish a way publishes it for all. What another gateway
    said counts only for ways that no worker has told this one.

    Args:
        gateway: This gateway's id.
        live: Where it is shared.
        hear: The policy's ear.
        generation: Returns which start of a worker is in the route table, None of one that is not.
    """

    def __init__(
        self, gateway: str, live: LiveState, hear: Hear, generation: Callable[[WorkerId], int | None]
    ) -> None:
        self._gateway = gateway
        self._live = live
        self._hear = hear
        self._generation = generation
        self._news: dict[str, LinkFigure] = {}

    def said(self, worker: WorkerId, load: Load) -> None:
        """Takes the ways that a worker told this gateway."""
        generation = self._generation(worker)
        for way in load.links:
            target = WorkerId(way.node)
            target_generation = self._generation(target)
            if generation is None or target_generation is None or not way.round_trip_us:
                continue
            round_trip_s, bytes_per_s = way.round_trip_us / 1e6, way.bytes_per_s or None
            self._hear(worker, target, MeasuredLink(round_trip_s, bytes_per_s))
            news = LinkFigure(worker, target, generation, target_generation, round_trip_s, bytes_per_s)
            self._news[news.key] = news
            if len(self._news) > MAX_LINKS:
                del self._news[next(iter(self._news))]

    def listen(self) -> None:
        """Takes up what others say, and says what nobody has said lately."""
        known = self._live.figures(Topic.ROUND_TRIP)
        lately: dict[str, LinkFigure] = {}
        for key, figures in known.items():
            for figure in figures:
                found = LinkFigure.read(figure)
                if found is None or not self._is_here(found):
                    continue
                if figure.age_s < SAID_AGAIN_S:
                    lately.setdefault(key, found)
                if figure.writer != self._gateway:
                    self._hear(WorkerId(found.origin), WorkerId(found.target), _measured(found, True))
                    break
        news, self._news = self._news, {}
        for key, found in news.items():
            said = lately.get(key)
            if said is None or not _measured(found).is_similar_to(_measured(said)):
                self._live.publish(Topic.ROUND_TRIP, key, found.values, TTL_S)

    def _is_here(self, way: LinkFigure) -> bool:
        """Whether it is between the very processes that are in the route table."""
        generations = self._generation(WorkerId(way.origin)), self._generation(WorkerId(way.target))
        return generations == (way.origin_generation, way.target_generation)


def _measured(way: LinkFigure, is_relayed: bool = False) -> MeasuredLink:
    return MeasuredLink(way.round_trip_s, way.bytes_per_s, is_relayed)
