"""Which of the values that are alive at a cut are sent over it, and which are computed again behind it."""

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
"""Operators of shape computations; on a few integers each costs less than a tensor's place in a frame."""

_MAX_ELEMENTS = 64
_INTEGERS = frozenset({Datatype.INT64, Datatype.INT32, Datatype.BOOL})


class BoundaryValues:
    """Decides for each position of a row what crosses a cut there.

    Everything alive crosses, except small integers that a stage can compute from what crosses anyway:
    `Shape(x)` where `x` is sent. Where `x` is not sent, they are.
    """

    def __init__(self, order: NodeOrder, types: Mapping[str, ValueType]) -> None:
        self._order = order
        self._cheap = {
            value: node for node in order.nodes if self._is_cheap(node, types) for value in node.writes
        }

    def at_cut(self, position: int, start: int, alive: list[ir.Value] | None = None) -> list[ir.Value]:
        """Returns the values that cross at `position`, oldest first.

        Args:
            position: Where the cut is.
            start: Where the stage before the cut starts. If leaving values out would leave that stage
                with nothing to give, nothing is left out.
            alive: `order.live_at(position)`, or those of them that are not brought to the stages behind in another way.
        """
        alive = self._order.live_at(position) if alive is None else alive
        rematerialised = self.rematerialised(
            dict.fromkeys(alive), [v for v in alive if self.may_rematerialise(v)]
        )
        kept = [value for value in alive if value not in rematerialised]
        return kept if any(self._order.defined_at[value] > start for value in kept) else alive

    def may_rematerialise(self, value: ir.Value) -> bool:
        """Whether a value is a small integer that cheap nodes compute and that is no output of the model."""
        return value in self._cheap and self._order.last_use[value] != LIVE_TO_END

    def rematerialised(
        self, alive: Mapping[ir.Value, object], candidates: Sequence[ir.Value]
    ) -> AbstractSet[ir.Value]:
        """Returns the values that are computed again behind a cut, in time linear in what the candidates depend on.

        Args:
            alive: What is alive at the cut.
            candidates: Those of them that `may_rematerialise`, oldest first.
        """
        if not candidates:
            return frozenset()
        left: set[ir.Value] = set(candidates)
        known: dict[ir.Value, bool] = {}
        for value in candidates:
            if not self._recomputable(value, alive, left, known):
                # It crosses, and what follows from it can be computed.
                left.remove(value)
                known[value] = True
        return left

    def _recomputable(
        self,
        value: ir.Value,
        alive: Mapping[ir.Value, object],
        doubtful: AbstractSet[ir.Value],
        known: dict[ir.Value, bool],
    ) -> bool:
        """Whether `value` follows by cheap nodes alone from what is alive and not doubtful."""

        def crosses(other: ir.Value) -> bool:
            return other in alive and other not in doubtful

        waiting = [value]
        while waiting:
            current = waiting[-1]
            if current in known or crosses(current):
                waiting.pop()
                continue
            node = self._cheap.get(current)
            if node is None:
                known[current] = False
                waiting.pop()
                continue
            unknown = [read for read in node.reads if read not in known and not crosses(read)]
            if unknown:
                waiting += unknown
                continue
            known[current] = all(crosses(read) or known[read] for read in node.reads)
            waiting.pop()
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
