"""Speed of a device: three constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PICOSECONDS = 1_000_000_000_000
"""Picoseconds in a second. Planners add integer picoseconds, so that sums are exact in any order."""


@dataclass(frozen=True, slots=True)
class DeviceSpeed:
    """Constants from which the time of a node is estimated where it was not measured.

    The time of a node is the sum of computing, moving its bytes, and a fixed overhead. Computing and moving overlap in
    part only: for transformers of few tokens their sum was closer to measurements than their maximum, elsewhere as
    close. The defaults are rough values of one core of a server CPU: ratios are useful, absolute times are not.

    Attributes:
        flops_per_s: Arithmetic throughput in operations per second.
        bytes_per_s: Memory throughput in bytes per second.
        node_overhead_s: Time to start a node, in seconds.
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
        """Returns the constants as plain values for JSON."""
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
