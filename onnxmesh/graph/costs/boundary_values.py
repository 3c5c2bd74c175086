"""Values that cross a cut, and values that are rematerialised behind it instead of being sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import onnx_ir as ir

from onnxmesh.graph.reading.node_order import LIVE_TO_END, NodeOrder, OrderedNode, value_name
from onnxmesh.graph.reading.value_types import ValueType
from onnxmesh.tensors.datatype import Datatype

_CHEAP = frozenset(
    {"Shape", "Size", "Gather", "Concat", "Unsqueeze", "Squeeze", "Slice", "Cast", "Identity", "Reshape"}
)
"""Operators of shape computations; on a few integers each costs less than a tensor in a frame."""

_MAX_ELEMENTS = 64
_INTEGERS = frozenset({Datatype.INT64, Datatype.INT32, Datatype.BOOL})


class BoundaryValues:
    """The values that cross a cut at each position of a topological order.

    All live values cross, except small integers that the stage behind the cut can rematerialise from values that
    cross: `Shape(x)` where `x` is sent. Where `x` is not sent, they cross.
    """

    def __init__(self, order: NodeOrder, types: Mapping[str, ValueType]) -> None:
        self._order = order
        self._cheap = {
            value: node for node in order.nodes if self._is_cheap(node, types) for value in node.writes
        }

    def at_cut(self, position: int, start: int, live: list[ir.Value] | None = None) -> list[ir.Value]:
        """Returns the values that cross at `position`, oldest first.

        Args:
            position: The position of the cut.
            start: Start of the stage before the cut. Nothing is rematerialised where that stage would otherwise have
                no output.
            live: The live values to consider; None: `order.live_at(position)`.
        """
        live = self._order.live_at(position) if live is None else live
        rematerialised = self.rematerialised(
            dict.fromkeys(live), [v for v in live if self.may_rematerialise(v)]
        )
        kept = [value for value in live if value not in rematerialised]
        return kept if any(self._order.defined_at[value] > start for value in kept) else live

    def may_rematerialise(self, value: ir.Value) -> bool:
        """Whether a value is a small integer that cheap nodes compute and that is no output of the model."""
        return value in self._cheap and self._order.last_use[value] != LIVE_TO_END

    def rematerialised(
        self, live: Mapping[ir.Value, object], candidates: Sequence[ir.Value]
    ) -> AbstractSet[ir.Value]:
        """Returns the values that are rematerialised behind a cut.

        Linear in the number of nodes that the candidates depend on.

        Args:
            live: The values live at the cut.
            candidates: Those of them that `may_rematerialise`, oldest first.
        """
        if not candidates:
            return frozenset()
        remaining: set[ir.Value] = set(candidates)
        known: dict[ir.Value, bool] = {}
        for value in candidates:
            if not self._recomputable(value, live, remaining, known):
                # It crosses; values computed from it can be rematerialised.
                remaining.remove(value)
                known[value] = True
        return remaining

    def _recomputable(
        self,
        value: ir.Value,
        live: Mapping[ir.Value, object],
        candidates: AbstractSet[ir.Value],
        known: dict[ir.Value, bool],
    ) -> bool:
        """Whether cheap nodes alone compute `value` from live values that cross."""

        def crosses(other: ir.Value) -> bool:
            return other in live and other not in candidates

        pending = [value]
        while pending:
            current = pending[-1]
            if current in known or crosses(current):
                pending.pop()
                continue
            node = self._cheap.get(current)
            if node is None:
                known[current] = False
                pending.pop()
                continue
            unknown = [read for read in node.reads if read not in known and not crosses(read)]
            if unknown:
                pending += unknown
                continue
            known[current] = all(crosses(read) or known[read] for read in node.reads)
            pending.pop()
        return crosses(value) or known[value]

    @staticmethod
    def _is_cheap(node: OrderedNode, types: Mapping[str, ValueType]) -> bool:
        if node.node.op_type not in _CHEAP or node.node.domain not in {"", "ai.onnx"}:
            return False
        return all(_is_small_integer(types.get(value_name(value))) for value in node.writes)


def _is_small_integer(value_type: ValueType | None) -> bool:
    if value_type is None or value_type.datatype not in _INTEGERS or value_type.shape is None:
        return False
    return -1 not in value_type.shape and math.prod(value_type.shape) <= _MAX_ELEMENTS
