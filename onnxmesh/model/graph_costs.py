"""What a planner must know of a graph, without the graph."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from onnxmesh.errors import CorruptData
from onnxmesh.model.signature import Signature

_FORMAT = 2


@dataclass(frozen=True, slots=True)
class NodeCost:
    """What one node of the linearised graph costs to run.

    Attributes:
        name: Name of the node, or of its first output where it has none.
        op_type: Operator, with its domain unless that is the standard one.
        flops: Floating-point (or integer) operations, a multiply-add counted as two.
        bytes_moved: Bytes of activations and weights that the node reads and writes.
        weights: Positions in `GraphCosts.weights` of what the node reads, through constant nodes too.
        working_bytes: Memory of activations while it runs: all that is alive then, what it writes, and the
            scratch that its kernel takes.
    """

    name: str
    op_type: str
    flops: int
    bytes_moved: int
    weights: tuple[int, ...]
    working_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Boundary:
    """What crosses a cut at one position, the model's own inputs not counted.

    Attributes:
        num_bytes: Size of the computed tensors alive there.
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
class InputUse:
    """Where an input of the model is needed.

    Attributes:
        name: The input.
        num_bytes: Its size.
        readers: Positions of the nodes that read it, ascending; the number of nodes stands at the end if it
            is an output of the model too, which the last stage answers.
    """

    name: str
    num_bytes: int
    readers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GraphCosts:
    """The costs of a graph whose nodes were put in a row, at one shape of its inputs.

    A cut at position `p` puts nodes `[0, p)` before it and `[p, n)` after it. Constants and what
    depends on constants alone are no nodes here: every stage that needs them has its own copy.

    Attributes:
        nodes: The nodes in the order in which they run.
        boundaries: One for each position from 1 to n - 1: `boundaries[p - 1]` is at position `p`.
        weights: Bytes of each weight; nodes name them by position, so shared ones count once a stage.
        inputs: Where each input of the model is needed, in the order of the signature.
        signature: What the whole model takes and gives.
    """

    nodes: tuple[NodeCost, ...]
    boundaries: tuple[Boundary, ...]
    weights: tuple[int, ...]
    inputs: tuple[InputUse, ...]
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

    def peak_bytes(self, start: int, end: int) -> int:
        """Returns the memory that a stage of nodes `[start, end)` takes: weights, activations, scratch."""
        working = max((node.working_bytes for node in self.nodes[start:end]), default=0)
        return self.weight_bytes(start, end) + working

    def to_json(self) -> str:
        """Returns the costs as one line of JSON, compact enough for a control message."""
        plain = {
            "format": _FORMAT,
            "nodes": [
                [node.name, node.op_type, node.flops, node.bytes_moved, node.weights, node.working_bytes]
                for node in self.nodes
            ],
            "boundaries": [
                [boundary.num_bytes, boundary.num_tensors, boundary.obstacle] for boundary in self.boundaries
            ],
            "weights": list(self.weights),
            "inputs": [[use.name, use.num_bytes, use.readers] for use in self.inputs],
            "signature": self.signature.to_plain(),
        }
        return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> GraphCosts:
        """Reads what `to_json` wrote.

        Raises:
            CorruptData: The text is something else (DATA_LOSS).
        """
        try:
            return cls._from_plain(json.loads(text))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            msg = f"not the costs of a graph: {type(error).__name__}: {error}"
            raise CorruptData(msg) from error

    @classmethod
    def _from_plain(cls, plain: dict[str, Any]) -> GraphCosts:
        if plain["format"] != _FORMAT:
            msg = f"format {_FORMAT} expected, {plain['format']!r} found"
            raise ValueError(msg)
        return cls(
            nodes=tuple(
                NodeCost(str(name), str(op_type), int(flops), int(moved), _integers(weights), int(working))
                for name, op_type, flops, moved, weights, working in plain["nodes"]
            ),
            boundaries=tuple(
                Boundary(int(num_bytes), int(num_tensors), None if obstacle is None else str(obstacle))
                for num_bytes, num_tensors, obstacle in plain["boundaries"]
            ),
            weights=_integers(plain["weights"]),
            inputs=tuple(
                InputUse(str(name), int(num_bytes), _integers(readers))
                for name, num_bytes, readers in plain["inputs"]
            ),
            signature=Signature.from_plain(plain["signature"]),
        )


def _integers(figures: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(figure) for figure in figures)
