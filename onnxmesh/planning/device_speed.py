"""How fast a machine of the mesh is taken to be."""

from __future__ import annotations

from dataclasses import dataclass

_PICOSECONDS = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class DeviceSpeed:
    """Constants from which stage and transfer times are estimated.

    A node takes the longer of computing and moving its bytes, plus a fixed overhead; a transfer
    takes the link's latency plus its bytes over the bandwidth. The defaults are round figures for
    one core of a server CPU and a link within one machine or rack: good for balance, not for clocks.

    Attributes:
        flops_per_s: Arithmetic throughput.
        bytes_per_s: Memory throughput.
        node_overhead_s: Time to start any node.
        link_bytes_per_s: Throughput of the link to the next stage.
        link_latency_s: Time for an empty message to the next stage.
    """

    flops_per_s: float = 50e9
    bytes_per_s: float = 10e9
    node_overhead_s: float = 2e-6
    link_bytes_per_s: float = 1e9
    link_latency_s: float = 100e-6

    def __post_init__(self) -> None:
        if min(self.flops_per_s, self.bytes_per_s, self.link_bytes_per_s) <= 0:
            msg = "speeds must be positive"
            raise ValueError(msg)
        if min(self.node_overhead_s, self.link_latency_s) < 0:
            msg = "overhead and latency must not be negative"
            raise ValueError(msg)

    def node_ps(self, flops: int, bytes_moved: int) -> int:
        """Returns the estimated time of one node, in whole picoseconds so that sums are exact."""
        seconds = max(flops / self.flops_per_s, bytes_moved / self.bytes_per_s) + self.node_overhead_s
        return round(seconds * _PICOSECONDS)

    def transfer_ps(self, num_bytes: int) -> int:
        """Returns the estimated time to send a boundary, in whole picoseconds."""
        return round((num_bytes / self.link_bytes_per_s + self.link_latency_s) * _PICOSECONDS)
