"""Measured links between processes as items of live state. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from onnxmesh.live.base import LiveEntry, Topic, Values

SEPARATOR = ">"
"""Between two ids, which never contain it."""


@dataclass(frozen=True, slots=True)
class SharedLink:
    """A measured link from one process to another.

    Attributes:
        origin: Id of the process where it begins.
        target: Id of the process where it ends.
        origin_generation: Generation of the origin when it was measured.
        target_generation: Generation of the target when it was measured.
        round_trip_s: Of a small message.
        bytes_per_s: Of a large payload; None: not measured.
    """

    origin: str
    target: str
    origin_generation: int
    target_generation: int
    round_trip_s: float
    bytes_per_s: float | None = None


class LinkCodec:
    """The codec of `Topic.ROUND_TRIP`."""

    topic = Topic.ROUND_TRIP

    def key(self, item: SharedLink) -> str:
        """Returns `ORIGIN>TARGET`."""
        return f"{item.origin}{SEPARATOR}{item.target}"

    def encode(self, item: SharedLink) -> Values:
        """Returns measurements and generations by name."""
        values: dict[str, float] = {
            "round_trip_s": item.round_trip_s,
            "origin_generation": item.origin_generation,
            "target_generation": item.target_generation,
        }
        if item.bytes_per_s is not None:
            values["bytes_per_s"] = item.bytes_per_s
        return values

    def decode(self, entry: LiveEntry) -> SharedLink | None:
        """Returns the link; None where the entry is malformed."""
        origin, separator, target = entry.key.partition(SEPARATOR)
        values = entry.values
        try:
            found = SharedLink(
                origin,
                target,
                int(values["origin_generation"]),
                int(values["target_generation"]),
                float(values["round_trip_s"]),
                float(values["bytes_per_s"]) if "bytes_per_s" in values else None,
            )
        except (KeyError, ValueError, TypeError, OverflowError):
            return None
        measured = [found.round_trip_s, *([] if found.bytes_per_s is None else [found.bytes_per_s])]
        return found if separator and all(isfinite(each) and each > 0 for each in measured) else None
