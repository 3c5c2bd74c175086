"""Cost model of nodes: operations, bytes moved and memory, estimated from shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnxmesh.graph.costs.kernel_scratch import scratch_bytes
from onnxmesh.graph.costs.operator_flops import flops_of
from onnxmesh.graph.costs.operator_traffic import bytes_moved
from onnxmesh.graph.costs.value_sizes import ValueSizes, weight_bytes
from onnxmesh.graph.reading.attributes import int_attribute, ints_attribute, operand, subgraphs
from onnxmesh.graph.reading.loaded_tensor import load_tensor
from onnxmesh.graph.reading.node_order import OrderedNode

__all__ = ["CostModel", "weight_bytes"]

_PREPACKED_OPERATORS = frozenset(
    {
        "MatMul",
        "FusedMatMul",
        "Gemm",
        "FusedGemm",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "QLinearMatMul",
        "QGemm",
        "MatMulNBits",
        "Conv",
        "FusedConv",
        "QLinearConv",
        "ConvTranspose",
        "Attention",
        "QAttention",
        "LSTM",
        "GRU",
    }
)
"""Operators whose kernels prepack their weights when the model is loaded."""


class CostModel(ValueSizes):
    """Estimates operations, bytes and memory of the nodes of one graph.

    The bodies of Loop and Scan count once for each iteration where their number is constant, else once; of the
    branches of an If the most expensive counts. Constructed like `ValueSizes`.
    """

    def flops(self, node: OrderedNode) -> int:
        """Returns the estimated operations of a node, a multiply-add counted as two."""
        return self._total(node.node, flops_of)

    def bytes_moved(self, node: OrderedNode) -> int:
        """Returns the bytes that a node reads and writes, weights included."""
        if subgraphs(node.node):
            return self._total(node.node, bytes_moved)
        # Outputs of constant nodes are computed in each run from the stored weights.
        indirect = set(node.weights).difference(value for value in node.node.inputs if value is not None)
        return self._total(node.node, bytes_moved) + sum(map(self.num_bytes, indirect))

    def scratch_bytes(self, node: OrderedNode) -> int:
        """Returns the scratch memory of a node's kernel, values within its bodies included."""
        return self._scratch(node.node)

    def packed_bytes(self, node: OrderedNode) -> int:
        """Returns the size of the largest weight of a node that is prepacked at load, when both copies exist; 0 if none is."""
        if node.node.op_type not in _PREPACKED_OPERATORS:
            return 0
        return max((self.num_bytes(value) for value in node.weights), default=0)

    def _total(self, node: ir.Node, count: Callable[[ValueSizes, ir.Node], int]) -> int:
        bodies = [sum(self._total(child, count) for child in body) for body in subgraphs(node)]
        if not bodies:
            return count(self, node)
        if node.op_type == "If":
            return max(bodies)
        return count(self, node) + self._num_runs(node) * sum(bodies)

    def _num_runs(self, node: ir.Node) -> int:
        """Returns the number of iterations of a Loop or Scan; 1 where it depends on data."""
        if node.op_type == "Loop":
            count = _constant(operand(node, 0))
            # A loop that ends by its condition has the largest integer as its trip count.
            return 1 if count is None or not 0 < count < 1 << 31 else count
        if node.op_type == "Scan":
            num_scanned = int_attribute(node, "num_scan_inputs", 1)
            first = len(node.inputs) - num_scanned
            axes = ints_attribute(node, "scan_input_axes") or (0,)
            shape = self.shape(operand(node, first))
            return max(1, shape[axes[0]]) if shape and -len(shape) <= axes[0] < len(shape) else 1
        return 1

    def _scratch(self, node: ir.Node) -> int:
        return scratch_bytes(self, node) + max(map(self._peak, subgraphs(node)), default=0)

    def _peak(self, body: ir.Graph) -> int:
        """Returns the peak memory of the values of a body in one iteration."""
        nodes = list(body)
        last_use = {value: at for at, node in enumerate(nodes) for value in node.inputs if value is not None}
        ends = len(nodes)
        last_use |= dict.fromkeys(body.outputs, ends)
        live = sum(self.num_bytes(value) for value in body.inputs)
        peak = live
        freed_at: dict[int, int] = {}
        for at, node in enumerate(nodes):
            for value in node.outputs:
                size = self.num_bytes(value)
                live += size
                end = last_use.get(value, at)
                freed_at[end] = freed_at.get(end, 0) + size
            peak = max(peak, live + self._scratch(node))
            live -= freed_at.pop(at, 0)
        return peak


def _constant(value: ir.Value | None) -> int | None:
    """Returns the value of a constant integer scalar; None for any other value."""
    tensor = None if value is None else value.const_value
    producer = None if value is None else value.producer()
    if tensor is None and producer is not None and producer.op_type == "Constant":
        attribute = producer.attributes.get("value")
        if attribute is not None and attribute.type == ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
        elif "value_int" in producer.attributes:
            return int_attribute(producer, "value_int", 1)
    if tensor is None or tensor.size != 1 or not np.issubdtype(tensor.dtype.numpy(), np.integer):
        return None
    return int(load_tensor(tensor).numpy().reshape(-1)[0])
