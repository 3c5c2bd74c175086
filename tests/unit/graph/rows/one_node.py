"""One node, and what is known about its outputs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx import helper

from onnxmesh.graph.rows.node_view import NodeView
from onnxmesh.graph.rows.row_analysis import analyse_rows
from onnxmesh.graph.rows.row_state import Rows, RowValue
from onnxmesh.graph.rows.sizes import ROWS


def with_rows(*shape, axis=0):
    """Returns an input with rows at an axis."""
    dims = list(shape)
    dims[axis] = ROWS
    return RowValue(Rows(axis), tuple(dims))


def outputs(op, inputs, *, domain="", opset=20, num_outputs=1, **attributes):
    """Returns what is known about the outputs of a node; arrays are weights, None is an omitted input."""
    names = ["" if value is None else f"i{index}" for index, value in enumerate(inputs)]
    node = helper.make_node(
        op, names, [f"o{index}" for index in range(num_outputs)], name="tested", domain=domain, **attributes
    )
    given = dict(zip(names, inputs, strict=True))
    weights = [
        ir.to_proto(ir.tensor(value, name=name))
        for name, value in given.items()
        if isinstance(value, np.ndarray)
    ]
    free = {name: value for name, value in given.items() if isinstance(value, RowValue)}
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, 1, None) for name in free],
        [helper.make_tensor_value_info(f"o{index}", 1, None) for index in range(num_outputs)],
        weights,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])],
    )
    found = analyse_rows(ir.from_proto(model), free)
    return [found[f"o{index}"] for index in range(num_outputs)]


def state(op, inputs, **attributes):
    """Returns how the first output depends on rows."""
    return outputs(op, inputs, **attributes)[0].state


def reason(op, inputs, **attributes):
    """Returns why the first output is mixed; an empty text where it is not."""
    return getattr(state(op, inputs, **attributes), "reason", "")


def view(op, inputs, *, version=20, num_outputs=1, **attributes):
    """Returns a node as rules read it."""
    names = [None if value is None else ir.Value(name=f"i{index}") for index, value in enumerate(inputs)]
    made = [ir.convenience.convert_attribute(name, value) for name, value in attributes.items()]
    node = ir.Node("", op, names, attributes=made, num_outputs=num_outputs)
    return NodeView(node, inputs, version)


def ints(*values):
    """Returns a weight of integers."""
    return np.array(values, np.int64)
