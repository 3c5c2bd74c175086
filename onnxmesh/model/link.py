"""Speed of a link between two devices."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.model.device_speed import PICOSECONDS


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """Bandwidth and latency of a link. The defaults are those of two processes on one machine, over gRPC.

    Attributes:
        bytes_per_s: Bandwidth in bytes per second.
        latency_s: One-way time of an empty message, in seconds.
    """

    bytes_per_s: float = 1e9
    latency_s: float = 100e-6

    def __post_init__(self) -> None:
        if self.bytes_per_s <= 0:
            msg = "bandwidth must be positive"
            raise ValueError(msg)
        if self.latency_s < 0:
            msg = "latency must not be negative"
            raise ValueError(msg)

    def transfer_ps(self, num_bytes: int) -> int:
        """Returns the estimated time of a transfer, in whole picoseconds."""
        return round((num_bytes / self.bytes_per_s + self.latency_s) * PICOSECONDS)
