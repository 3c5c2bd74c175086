"""Locality of a process, and the nearness of two localities."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from onnxmesh.routing.selectors.labels import Labels


class Nearness(IntEnum):
    """How near two processes are; less is nearer."""

    HOST = 0
    ZONE = 1
    REGION = 2
    FAR = 3


@dataclass(frozen=True, slots=True)
class Locality:
    """Region, zone and host of a process; an empty field is unknown.

    Attributes:
        region: A set of zones.
        zone: A failure domain with a fast network.
        host: A machine.
    """

    region: str = ""
    zone: str = ""
    host: str = ""

    @classmethod
    def of(cls, labels: Labels) -> Locality:
        """Returns the locality in the labels `region`, `zone` and `host`: attributes, or tags such as `zone=eu`."""
        return cls(*(labels.get(key, ("",))[0] for key in ("region", "zone", "host")))

    def nearness(self, other: Locality) -> Nearness:
        """Returns how near another process is; unknown fields count as equal, except for the host."""
        if self.region and other.region and self.region != other.region:
            return Nearness.FAR
        if self.zone and other.zone and self.zone != other.zone:
            return Nearness.REGION
        if self.host and self.host == other.host:
            return Nearness.HOST
        return Nearness.ZONE


UNKNOWN_LOCALITY = Locality()
"""The locality of which nothing is known; every other one is in its zone."""
