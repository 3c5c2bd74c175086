"""How fast a device computes, in three figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PICOSECONDS = 1_000_000_000_000
"""In a second. Planners add whole picoseconds, so that sums are exact whatever their order."""


@dataclass(frozen=True, slots=True)
class DeviceSpeed:
    """Constants from which the time of a node is estimated where it was not measured.

    A node takes the time of computing, that of moving its bytes, and a fixed overhead. Computing and moving overlap
    in part only: their sum was nearer to what was measured on transformers of few tokens than the longer of the two,
    and no farther elsewhere. The defaults are round figures for one core of a server CPU: good for balance, not for
    clocks.

    Attributes:
        flops_per_s: Arithmetic throughput.
        bytes_per_s: Memory throughput.
        node_overhead_s: Time to start any node.
    """

    flops_per_s: float = 50e9
    bytes_per_s: float = 10e9
    node_overhead_s: float = 2e-6

    def __post_init__(self) -> None:
        if min(self.flops_per_s, self.bytes_per_s) <= 0:
            msg = "speeds must be positive"
            raise ValueError(msg)
        if self.node_overhead_s < 0:
            msg = "overhead must not be negative"
            raise ValueError(msg)

    def node_ps(self, flops: int, bytes_moved: int) -> int:
        """Returns the estimated time of one node, in whole picoseconds."""
        seconds = flops / self.flops_per_s + bytes_moved / self.bytes_per_s + self.node_overhead_s
        return round(seconds * PICOSECONDS)

    def to_plain(self) -> dict[str, float]:
        """Returns the figures as plain values for JSON."""
        return {
            "flops_per_s": self.flops_per_s,
            "bytes_per_s": self.bytes_per_s,
            "node_overhead_s": self.node_overhead_s,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> DeviceSpeed:
        """Reads what `to_plain` wrote.

        Raises:
            KeyError, TypeError, ValueError: The value has another form.
        """
        return cls(float(plain["flops_per_s"]), float(plain["bytes_per_s"]), float(plain["node_overhead_s"]))
