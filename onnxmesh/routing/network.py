"""Link costs between processes: measured, or guessed from the localities of both ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxmesh.routing.table.locality import Nearness

SIMILAR_SHARE = 0.1
"""A measurement within this share of the known one changes nothing."""


@dataclass(frozen=True, slots=True)
class LinkCost:
    """Cost of a link between two processes.

    Attributes:
        round_trip_s: Round-trip time of a small message.
        bytes_per_s: Throughput of a large one.
    """

    round_trip_s: float
    bytes_per_s: float


GUESSES: Mapping[Nearness, LinkCost] = {
    Nearness.HOST: LinkCost(0.0002, 5e9),
    Nearness.ZONE: LinkCost(0.0005, 1.25e9),
    Nearness.REGION: LinkCost(0.002, 6.25e8),
    Nearness.FAR: LinkCost(0.05, 1.25e8),
}
"""Costs of unmeasured links: loopback, 10 Gbit/s, 5 Gbit/s between zones, 1 Gbit/s between regions."""


@dataclass(frozen=True, slots=True)
class MeasuredLink:
    """A measurement of a link, smoothed by the process that made it.

    Attributes:
        round_trip_s: Round-trip time of a small message.
        bytes_per_s: Throughput of a large one; None: not measured.
        is_relayed: Whether another gateway passed it on; a report that comes here directly replaces it.
    """

    round_trip_s: float
    bytes_per_s: float | None = None
    is_relayed: bool = False

    def is_similar_to(self, other: MeasuredLink) -> bool:
        """Whether both measurements are equal within `SIMILAR_SHARE`."""
        if self.is_relayed is not other.is_relayed:
            return False
        if not _about_equal(self.round_trip_s, other.round_trip_s):
            return False
        if self.bytes_per_s is None or other.bytes_per_s is None:
            return self.bytes_per_s is other.bytes_per_s
        return _about_equal(self.bytes_per_s, other.bytes_per_s)


_NO_LINKS: Mapping[str, MeasuredLink] = {}


class Network:
    """Every measured link, by the ids of its two ends.

    Links are reported again and again, so a similar measurement is ignored: views that were computed from the known
    one stay valid.
    """

    def __init__(self) -> None:
        self._links: dict[str, dict[str, MeasuredLink]] = {}
        self._revisions: dict[str, int] = {}
        self._last_revision = 0

    def revision(self, origin: str) -> int:
        """Returns a number that changes with every change of a link from `origin`; 0: no link is measured."""
        return self._revisions.get(origin, 0)

    def links(self, origin: str) -> Mapping[str, MeasuredLink]:
        """Returns the measured links from a process, by target."""
        return self._links.get(origin, _NO_LINKS)

    def observe(self, origin: str, target: str, link: MeasuredLink) -> bool:
        """Records a measurement between two processes; returns whether it changed anything."""
        links = self._links.setdefault(origin, {})
        known = links.get(target)
        if known is not None and (link.is_similar_to(known) or (link.is_relayed and not known.is_relayed)):
            return False
        links[target] = link
        self._changed(origin)
        return True

    def remove(self, node: str) -> None:
        """Removes the links from and to a process that ended or was restarted."""
        self._links.pop(node, None)
        self._revisions.pop(node, None)
        for origin, links in self._links.items():
            if links.pop(node, None) is not None:
                self._changed(origin)

    def _changed(self, origin: str) -> None:
        self._last_revision += 1
        self._revisions[origin] = self._last_revision


def _about_equal(new: float, known: float) -> bool:
    return abs(new - known) <= SIMILAR_SHARE * known
