"""Costs of a graph: the planner's view of a model, without the model."""

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
    """Cost of one node.

    Attributes:
        name: Name of the node, or of its first output where it is unnamed.
        op_type: Operator, with its domain unless that is the standard one.
        flops: Floating-point (or integer) operations, a multiply-add counted as two.
        bytes_moved: Bytes of activations and weights that the node reads and writes.
        weights: Positions in `GraphCosts.weights` of the weights that the node reads, through constant nodes too.
        working_bytes: Working memory while it runs: live values, its outputs, and its kernel's scratch memory.
    """

    name: str
    op_type: str
    flops: int
    bytes_moved: int
    weights: tuple[int, ...]
    working_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Boundary:
    """The boundary of a cut at one position, without the model's inputs.

    Attributes:
        num_bytes: Size of the computed tensors that cross it.
        num_tensors: Number of these tensors.
        obstacle: Why the graph cannot be cut here; None if it can.
        keeps_rows: Whether the stages beside a cut here may run requests together, by the structure of the graph: each
            tensor has one row of the batch at each index of its first axis, or is the same for all rows.
    """

    num_bytes: int
    num_tensors: int
    obstacle: str | None = None
    keeps_rows: bool = True

    @property
    def legal(self) -> bool:
        """Whether the graph can be cut here."""
        return self.obstacle is None


@dataclass(frozen=True, slots=True)
class InputUse:
    """The nodes that read an input of the model.

    Attributes:
        name: Name of the input.
        num_bytes: Its size.
        readers: Positions of the nodes that read it, ascending; the number of nodes is the last element if it is an
            output of the model too, which the last stage returns.
    """

    name: str
    num_bytes: int
    readers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GraphCosts:
    """The costs of a graph in topological order, at one shape of its inputs.

    A cut at position `p` separates nodes `[0, p)` from `[p, n)`. Constant nodes are not included: every stage that
    needs a constant has its own copy.

    Attributes:
        nodes: The nodes in topological order.
        boundaries: One for each position from 1 to n - 1: `boundaries[p - 1]` is at position `p`.
        weights: Bytes of each weight; nodes refer to them by position, so shared ones count once in a stage.
        inputs: Uses of the model's inputs, in the order of the signature.
        signature: Inputs and outputs of the whole model.
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
        """Returns the memory that a stage of nodes `[start, end)` needs: weights and the largest working memory."""
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
            "without_rows": [p for p, boundary in enumerate(self.boundaries) if not boundary.keeps_rows],
        }
        return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> GraphCosts:
        """Reads what `to_json` wrote.

        Raises:
            CorruptData: The text has another form (DATA_LOSS).
        """
        try:
            return cls._from_plain(json.loads(text))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            msg = f"not the costs of a graph: {type(error).__name__}: {error}"
            raise CorruptData(msg) from error

    @classmethod
    def _from_plain(cls, plain: dict[str, Any]) -> GraphCosts:
        if plain["format"] != _FORMAT:
            msg = f"expected format {_FORMAT}, got {plain['format']!r}"
            raise ValueError(msg)
        # Workers of an earlier version do not send it.
        without_rows = frozenset(_integers(plain.get("without_rows", ())))
        return cls(
            nodes=tuple(
                NodeCost(str(name), str(op_type), int(flops), int(moved), _integers(weights), int(working))
                for name, op_type, flops, moved, weights, working in plain["nodes"]
            ),
            boundaries=tuple(
                Boundary(
                    int(num_bytes),
                    int(num_tensors),
                    None if obstacle is None else str(obstacle),
                    keeps_rows=p not in without_rows,
                )
                for p, (num_bytes, num_tensors, obstacle) in enumerate(plain["boundaries"])
            ),
            weights=_integers(plain["weights"]),
            inputs=tuple(
                InputUse(str(name), int(num_bytes), _integers(readers))
                for name, num_bytes, readers in plain["inputs"]
            ),
            signature=Signature.from_plain(plain["signature"]),
        )


def _integers(numbers: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(number) for number in numbers)
