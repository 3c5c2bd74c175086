"""Steps of random graphs in which rows meet."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.rows_fuzz.graph_builder import LENGTH, WIDTH, GraphBuilder, Step, if_of, loop_of


def _range_gate(graph: GraphBuilder, x: str) -> str:
    over = graph.node("Greater", [graph.node("ReduceMax", [x], keepdims=0), graph.weight(np.float32(16))])
    return graph.node("Mul", [x, graph.node("Where", [over, graph.noise(), graph.noise()])])


def _over_rows(graph: GraphBuilder, x: str) -> str:
    return graph.node("Softmax", [x], axis=0)


def _sum_of_rows(graph: GraphBuilder, x: str) -> str:
    return graph.node("CumSum", [x, graph.weight(np.array(0))])


def _mean_of_rows(graph: GraphBuilder, x: str) -> str:
    return graph.node("Sub", [x, graph.node("ReduceMean", [x, graph.weight(np.array([0]))], keepdims=1)])


def _one_scale(graph: GraphBuilder, x: str) -> str:
    quantized = graph.node("DynamicQuantizeLinear", [x], 3)
    return graph.node("DequantizeLinear", [quantized, f"{quantized}_1", f"{quantized}_2"])


def _count_as_data(graph: GraphBuilder, x: str) -> str:
    batch = graph.node("Gather", [graph.node("Shape", [x]), graph.weight(np.array(0))])
    return graph.node("Div", [x, graph.node("Cast", [batch], to=TensorProto.FLOAT)])


def _positions_of_rows(graph: GraphBuilder, x: str) -> str:
    batch = graph.node("Gather", [graph.node("Shape", [x]), graph.weight(np.array(0))])
    positions = graph.node("Range", [graph.weight(np.array(0)), batch, graph.weight(np.array(1))])
    floats = graph.node("Cast", [positions], to=TensorProto.FLOAT)
    return graph.node("Add", [x, graph.node("Reshape", [floats, graph.weight(np.array([-1, 1, 1]))])])


def _first_row(graph: GraphBuilder, x: str) -> str:
    bounds = [graph.weight(np.array([value])) for value in (0, 1, 0)]
    return graph.node("Add", [x, graph.node("Slice", [x, *bounds])])


def _pairwise(graph: GraphBuilder, x: str) -> str:
    flat = graph.node("Reshape", [x, graph.weight(np.array([0, -1]))])
    scores = graph.node("Softmax", [graph.node("MatMul", [flat, graph.node("Transpose", [flat])])], axis=-1)
    mixed = graph.node("MatMul", [scores, flat])
    return graph.node("Reshape", [mixed, graph.weight(np.array([0, LENGTH, WIDTH]))])


def _until_all_done(graph: GraphBuilder, x: str) -> str:
    condition = [
        helper.make_node("ReduceMax", ["v2"], ["largest"], keepdims=0, name=f"loop_max{len(graph.nodes)}"),
        helper.make_node("Greater", ["largest", "limit"], ["go"]),
    ]
    return loop_of(graph, x, condition, [numpy_helper.from_array(np.float32(5), "limit")])


def batch_statistics(graph: GraphBuilder, x: str) -> str:
    """Adds BatchNormalization in training mode: by mean and variance of the batch."""
    parameters = [graph.weight(np.full(LENGTH, value, np.float32)) for value in (1, 0, 0, 1)]
    return graph.node("BatchNormalization", [x, *parameters], 3, training_mode=1)


def _branch_by_rows(graph: GraphBuilder, x: str) -> str:
    total = graph.node("ReduceSum", [x], keepdims=0)
    return if_of(graph, x, graph.node("Greater", [total, graph.weight(np.float32(9))]))


def _gate_in_a_branch(graph: GraphBuilder, x: str) -> str:
    number = len(graph.nodes)
    limit = numpy_helper.from_array(np.float32(16), "limit")
    gated = helper.make_graph(
        [
            helper.make_node("ReduceMax", [x], ["largest"], keepdims=0, name=f"gate_max{number}"),
            helper.make_node("Less", ["largest", "limit"], ["below"], name=f"gate_less{number}"),
            helper.make_node("Cast", ["below"], ["factor"], to=TensorProto.FLOAT, name=f"gate_cast{number}"),
            helper.make_node("Mul", [x, "factor"], ["b"], name=f"gate_mul{number}"),
        ],
        "then_branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        [limit],
    )
    plain = helper.make_graph(
        [helper.make_node("Neg", [x], ["b"], name=f"gate_neg{number}")],
        "else_branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    length = graph.node("Gather", [graph.node("Shape", [x]), graph.weight(np.array(1))])
    condition = graph.node("Greater", [length, graph.weight(np.array(2))])
    return graph.node("If", [condition], then_branch=gated, else_branch=plain)


def _scan_of_rows(graph: GraphBuilder, x: str) -> str:
    number = len(graph.nodes)
    body = helper.make_graph(
        [
            helper.make_node("Add", ["sum", "row"], ["next"], name=f"scan_add{number}"),
            helper.make_node("Identity", ["next"], ["out"], name=f"scan_out{number}"),
        ],
        "body",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [LENGTH, WIDTH]) for name in ("sum", "row")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [LENGTH, WIDTH]) for name in ("next", "out")],
    )
    graph.node("Scan", [graph.noise(LENGTH, WIDTH), x], 2, body=body, num_scan_inputs=1)
    return f"{graph.nodes[-1].output[1]}"


def _size_as_data(graph: GraphBuilder, x: str) -> str:
    return graph.node("Div", [x, graph.node("Cast", [graph.node("Size", [x])], to=TensorProto.FLOAT)])


MIXING: tuple[Step, ...] = (
    _range_gate, _over_rows, _sum_of_rows, _mean_of_rows, _one_scale, _count_as_data, _positions_of_rows, _first_row,
    _pairwise, _until_all_done, batch_statistics, _branch_by_rows, _gate_in_a_branch, _scan_of_rows, _size_as_data,
)  # fmt: skip
"""Steps in which rows meet."""
