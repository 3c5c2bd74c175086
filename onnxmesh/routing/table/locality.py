"""Where a process is, and how near two of them are by name."""

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
    """Where a process is; what is empty is not known.

    Attributes:
        region: A set of zones.
        zone: What fails together and is near to itself.
        host: A machine.
    """

    region: str = ""
    zone: str = ""
    host: str = ""

    @classmethod
    def of(cls, labels: Labels) -> Locality:
        """Returns what the labels `region`, `zone` and `host` say: attributes or tags such as `zone=eu`."""
        return cls(*(labels.get(key, ("",))[0] for key in ("region", "zone", "host")))

    def nearness(self, other: Locality) -> Nearness:
        """Returns how near another process is; where nothing says otherwise, it is in the same zone."""
        if self.region and other.region and self.region != other.region:
            return Nearness.FAR
        if self.zone and other.zone and self.zone != other.zone:
            return Nearness.REGION
        if self.host and self.host == other.host:
            return Nearness.HOST
        return Nearness.ZONE


NOWHERE = Locality()
"""Nothing is known: everybody is near."""
