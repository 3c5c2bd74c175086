"""What it takes to send something from one process to another: measured, or guessed from how near they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxmesh.routing.locality import Locality, Nearness

SMOOTHING = 0.2
"""Weight of a new measurement against what was known."""


@dataclass(frozen=True, slots=True)
class Way:
    """The way between two processes.

    Attributes:
        round_trip_s: Of something small.
        bytes_per_s: Of something large.
    """

    round_trip_s: float
    bytes_per_s: float

    def transfer_s(self, num_bytes: float) -> float:
        """Returns how long so much takes one way."""
        return self.round_trip_s / 2 + num_bytes / self.bytes_per_s


GUESSES: Mapping[Nearness, Way] = {
    Nearness.HOST: Way(0.0002, 5e9),
    Nearness.ZONE: Way(0.0005, 1.25e9),
    Nearness.REGION: Way(0.002, 6.25e8),
    Nearness.FAR: Way(0.05, 1.25e8),
}
"""Of ways that nobody has measured: loopback, 10 Gbit/s, 5 Gbit/s between zones, 1 Gbit/s over distance."""


class Network:
    """Every measured way, smoothed.

    Attributes:
        revision: Grows with every change.
    """

    def __init__(self) -> None:
        self._ways: dict[str, dict[str, Way]] = {}
        self.revision = 0

    def knows(self, origin: str) -> bool:
        """Whether any way from there has been measured."""
        return origin in self._ways

    def measured(self, origin: str, target: str, way: Way) -> None:
        """Takes a measurement between two processes, by their ids."""
        ways = self._ways.setdefault(origin, {})
        known = ways.get(target)
        if known is not None:
            way = Way(
                known.round_trip_s + SMOOTHING * (way.round_trip_s - known.round_trip_s),
                known.bytes_per_s + SMOOTHING * (way.bytes_per_s - known.bytes_per_s),
            )
        ways[target] = way
        self.revision += 1

    def forget(self, node: str) -> None:
        """Drops what was measured from or to a process that is gone."""
        self._ways.pop(node, None)
        for ways in self._ways.values():
            ways.pop(node, None)
        self.revision += 1

    def ways_from(self, origin: str) -> Mapping[str, Way]:
        """Returns the measured ways from a process, by where they lead."""
        return self._ways.get(origin, {})

    def way(self, origin: str, origin_locality: Locality, target: str, target_locality: Locality) -> Way:
        """Returns the measured way, else the guess for how near the two are."""
        way = self._ways.get(origin, {}).get(target)
        return GUESSES[origin_locality.nearness(target_locality)] if way is None else way
