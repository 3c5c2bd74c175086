"""Times of a graph's nodes, summed by operator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onnxmesh.model.graph_costs import GraphCosts


@dataclass(frozen=True, slots=True)
class OperatorTimes:
    """The sums of all nodes of one operator.

    Attributes:
        operator: The operator's name, with its domain unless that is the standard one.
        num_nodes: Number of nodes.
        seconds: Time in one run of the graph.
        flops: Floating-point operations in one run.
        num_bytes: Bytes read and written in one run.
    """

    operator: str
    num_nodes: int
    seconds: float
    flops: int
    num_bytes: int

    @property
    def flops_per_s(self) -> float:
        """Floating-point operations per second."""
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_s(self) -> float:
        """Bytes read and written per second."""
        return self.num_bytes / self.seconds if self.seconds else 0.0

    @classmethod
    def total(cls, name: str, parts: Iterable[OperatorTimes]) -> OperatorTimes:
        """Returns the sum of several operators under a name."""
        listed = list(parts)
        return cls(
            name,
            sum(part.num_nodes for part in listed),
            sum(part.seconds for part in listed),
            sum(part.flops for part in listed),
            sum(part.num_bytes for part in listed),
        )

    def to_plain(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "operator": self.operator,
            "nodes": self.num_nodes,
            "seconds": self.seconds,
            "flops": self.flops,
            "bytes": self.num_bytes,
        }


def operator_times(costs: GraphCosts, node_s: Sequence[float]) -> list[OperatorTimes]:
    """Returns the times by operator, slowest first.

    Args:
        costs: The costs of the graph.
        node_s: The time of each node, in seconds.
    """
    found: dict[str, list[OperatorTimes]] = {}
    for node, seconds in zip(costs.nodes, node_s, strict=True):
        part = OperatorTimes(node.op_type, 1, seconds, node.flops, node.bytes_moved)
        found.setdefault(node.op_type, []).append(part)
    sums = [OperatorTimes.total(name, parts) for name, parts in found.items()]
    return sorted(sums, key=lambda operator: (-operator.seconds, operator.operator))
