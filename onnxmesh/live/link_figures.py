"""Measured ways as live state carries them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from onnxmesh.live.base import Figure, Values

SEPARATOR = ">"
"""Between two ids, which never have it."""


@dataclass(frozen=True, slots=True)
class LinkFigure:
    """The way from one process to another, as somebody measured it.

    Attributes:
        origin: Where it begins.
        target: Where it ends.
        origin_generation: Which start of that process it was.
        target_generation: The same of the other.
        round_trip_s: Of something small.
        bytes_per_s: Of something large; None: not measured.
    """

    origin: str
    target: str
    origin_generation: int
    target_generation: int
    round_trip_s: float
    bytes_per_s: float | None = None

    @property
    def key(self) -> str:
        """Its key in the topic of round trips."""
        return f"{self.origin}{SEPARATOR}{self.target}"

    @property
    def values(self) -> Values:
        """What is published under it."""
        values: dict[str, float] = {
            "round_trip_s": self.round_trip_s,
            "origin_generation": self.origin_generation,
            "target_generation": self.target_generation,
        }
        if self.bytes_per_s is not None:
            values["bytes_per_s"] = self.bytes_per_s
        return values

    @classmethod
    def read(cls, figure: Figure) -> LinkFigure | None:
        """Reads what was published, be it by another release; None where it is none."""
        origin, separator, target = figure.key.partition(SEPARATOR)
        values = figure.values
        try:
            found = cls(
                origin,
                target,
                int(values["origin_generation"]),
                int(values["target_generation"]),
                float(values["round_trip_s"]),
                float(values["bytes_per_s"]) if "bytes_per_s" in values else None,
            )
        except (KeyError, ValueError, TypeError, OverflowError):
            return None
        figures = [found.round_trip_s, *([] if found.bytes_per_s is None else [found.bytes_per_s])]
        return found if separator and all(isfinite(each) and each > 0 for each in figures) else None
