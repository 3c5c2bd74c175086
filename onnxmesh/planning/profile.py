"""What a planner must know about a graph, without the graph."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from onnxmesh.errors import CorruptData
from onnxmesh.planning.signature import Signature

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class NodeCost:
    """What one node of the linearised graph costs to run.

    Attributes:
        name: Name of the node, or of its first output where it has none.
        op_type: Operator, with its domain unless that is the standard one.
        flops: Floating-point (or integer) operations, a multiply-add counted as two.
        bytes_moved: Bytes of activations and weights that the node reads and writes.
        weights: Positions in `GraphProfile.weights` of what the node reads, through constant nodes too.
    """

    name: str
    op_type: str
    flops: int
    bytes_moved: int
    weights: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Boundary:
    """What crosses a cut at one position.

    Attributes:
        num_bytes: Size of all tensors alive there, with unknown dimensions counted as one.
        num_tensors: How many they are.
        obstacle: Why the graph cannot be cut here, or None if it can.
    """

    num_bytes: int
    num_tensors: int
    obstacle: str | None = None

    @property
    def legal(self) -> bool:
        """Whether everything that crosses can be sent."""
        return self.obstacle is None


@dataclass(frozen=True, slots=True)
class GraphProfile:
    """The costs of a graph whose nodes were put in a row.

    A cut at position `p` puts nodes `[0, p)` before it and `[p, n)` after it. Constants and what
    depends on constants alone are no nodes here: every stage that needs them has its own copy.

    Attributes:
        nodes: The nodes in the order in which they run.
        boundaries: One for each position from 1 to n - 1: `boundaries[p - 1]` is at position `p`.
        weights: Bytes of each weight; nodes name them by position, so shared ones count once a stage.
        signature: What the whole model takes and gives.
    """

    nodes: tuple[NodeCost, ...]
    boundaries: tuple[Boundary, ...]
    weights: tuple[int, ...]
    signature: Signature

    def __post_init__(self) -> None:
        if len(self.boundaries) != max(0, len(self.nodes) - 1):
            msg = f"{len(self.nodes)} nodes have {len(self.boundaries)} boundaries between them"
            raise ValueError(msg)

    @property
    def legal_cuts(self) -> tuple[int, ...]:
        """The positions at which the graph can be cut, ascending."""
        return tuple(p for p, boundary in enumerate(self.boundaries, start=1) if boundary.legal)

    @property
    def max_stages(self) -> int:
        """The largest number of stages into which the graph can be cut."""
        return len(self.legal_cuts) + 1

    def weight_bytes(self, start: int, end: int) -> int:
        """Returns the bytes of the weights that nodes `[start, end)` read, each counted once."""
        used = {weight for node in self.nodes[start:end] for weight in node.weights}
        return sum(self.weights[weight] for weight in used)

    def to_json(self) -> str:
        """Returns the profile as one line of JSON, compact enough for a control message."""
        plain = {
            "format": _FORMAT,
            "nodes": [
                [node.name, node.op_type, node.flops, node.bytes_moved, list(node.weights)]
                for node in self.nodes
            ],
            "boundaries": [
                [boundary.num_bytes, boundary.num_tensors, boundary.obstacle] for boundary in self.boundaries
            ],
            "weights": list(self.weights),
            "signature": self.signature.to_plain(),
        }
        return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> GraphProfile:
        """Reads what `to_json` wrote.

        Raises:
            CorruptData: The text is no profile (DATA_LOSS).
        """
        try:
            return cls._from_plain(json.loads(text))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            msg = f"not a graph profile: {type(error).__name__}: {error}"
            raise CorruptData(msg) from error

    @classmethod
    def _from_plain(cls, plain: dict[str, Any]) -> GraphProfile:
        if plain["format"] != _FORMAT:
            msg = f"format {_FORMAT} expected, {plain['format']!r} found"
            raise ValueError(msg)
        return cls(
            nodes=tuple(
                NodeCost(str(name), str(op_type), int(flops), int(moved), tuple(int(w) for w in weights))
                for name, op_type, flops, moved, weights in plain["nodes"]
            ),
            boundaries=tuple(
                Boundary(int(num_bytes), int(num_tensors), None if obstacle is None else str(obstacle))
                for num_bytes, num_tensors, obstacle in plain["boundaries"]
            ),
            weights=tuple(int(num_bytes) for num_bytes in plain["weights"]),
            signature=Signature.from_plain(plain["signature"]),
        )
