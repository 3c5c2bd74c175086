"""What it takes to send something from one process to another: measured, or guessed from how near they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxmesh.routing.table.locality import Nearness

SAME = 0.1
"""A measurement that differs by no more than this share from what is known changes nothing."""


@dataclass(frozen=True, slots=True)
class LinkCost:
    """The way between two processes.

    Attributes:
        round_trip_s: Of something small.
        bytes_per_s: Of something large.
    """

    round_trip_s: float
    bytes_per_s: float


GUESSES: Mapping[Nearness, LinkCost] = {
    Nearness.HOST: LinkCost(0.0002, 5e9),
    Nearness.ZONE: LinkCost(0.0005, 1.25e9),
    Nearness.REGION: LinkCost(0.002, 6.25e8),
    Nearness.FAR: LinkCost(0.05, 1.25e8),
}
"""Of ways that nobody has measured: loopback, 10 Gbit/s, 5 Gbit/s between zones, 1 Gbit/s over distance."""


@dataclass(frozen=True, slots=True)
class MeasuredLink:
    """A measurement of a way, smoothed by whoever made it.

    Attributes:
        round_trip_s: Of something small.
        bytes_per_s: Of something large; None: not measured.
        by_hearsay: Whether somebody else was told it; what the chooser was told itself takes its place.
    """

    round_trip_s: float
    bytes_per_s: float | None = None
    by_hearsay: bool = False

    def is_like(self, other: MeasuredLink) -> bool:
        """Whether it says as good as the same as another."""
        if self.by_hearsay is not other.by_hearsay:
            return False
        if not _about_equal(self.round_trip_s, other.round_trip_s):
            return False
        if self.bytes_per_s is None or other.bytes_per_s is None:
            return self.bytes_per_s is other.bytes_per_s
        return _about_equal(self.bytes_per_s, other.bytes_per_s)


_NOTHING: Mapping[str, MeasuredLink] = {}


class Network:
    """Every measured way.

    Whoever reports a way does so again and again, so a report that says about the same is none: what was built on
    the figures stands.
    """

    def __init__(self) -> None:
        self._ways: dict[str, dict[str, MeasuredLink]] = {}
        self._revisions: dict[str, int] = {}
        self._last_revision = 0

    def revision(self, origin: str) -> int:
        """Returns a number that is another one whenever a way from there has changed; 0: none is known."""
        return self._revisions.get(origin, 0)

    def links(self, origin: str) -> Mapping[str, MeasuredLink]:
        """Returns what is known of the ways from a process, by their ends."""
        return self._ways.get(origin, _NOTHING)

    def measured(self, origin: str, target: str, measured: MeasuredLink) -> bool:
        """Takes a measurement between two processes, by their ids; returns whether it changed anything."""
        ways = self._ways.setdefault(origin, {})
        known = ways.get(target)
        if known is not None and (measured.is_like(known) or (measured.by_hearsay and not known.by_hearsay)):
            return False
        ways[target] = measured
        self._changed(origin)
        return True

    def forget(self, node: str) -> None:
        """Drops what was measured from or to a process that is gone, or was started anew."""
        self._ways.pop(node, None)
        self._revisions.pop(node, None)
        for origin, ways in self._ways.items():
            if ways.pop(node, None) is not None:
                self._changed(origin)

    def _changed(self, origin: str) -> None:
        self._last_revision += 1
        self._revisions[origin] = self._last_revision


def _about_equal(new: float, known: float) -> bool:
    return abs(new - known) <= SAME * known
