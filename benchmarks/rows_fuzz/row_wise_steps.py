"""Steps of random graphs that keep rows apart."""

from __future__ import annotations

import numpy as np
from onnx import helper

from benchmarks.rows_fuzz.graph_builder import LENGTH, WIDTH, GraphBuilder, Step, if_of, loop_of


def _unary(graph: GraphBuilder, x: str) -> str:
    return graph.node(graph.rng.choice(["Relu", "Tanh", "Sigmoid", "Neg", "Abs", "Softplus", "Erf"]), [x])


def _with_weight(graph: GraphBuilder, x: str) -> str:
    shape = graph.rng.choice([(WIDTH,), (LENGTH, 1), (1, 1, WIDTH), ()])
    return graph.node(graph.rng.choice(["Add", "Mul", "Sub", "Max"]), [x, graph.noise(*shape)])


def _linear(graph: GraphBuilder, x: str) -> str:
    return graph.node("MatMul", [x, graph.noise(WIDTH, WIDTH)])


def _normalised(graph: GraphBuilder, x: str) -> str:
    return graph.node("LayerNormalization", [x, graph.noise(WIDTH), graph.noise(WIDTH)])


def _softmax(graph: GraphBuilder, x: str) -> str:
    return graph.node("Softmax", [x], axis=graph.rng.choice([1, 2, -1]))


def _centred(graph: GraphBuilder, x: str) -> str:
    op = graph.rng.choice(["ReduceMean", "ReduceMax", "ReduceSum"])
    reduced = graph.node(op, [x, graph.weight(np.array([graph.rng.choice([1, 2])]))], keepdims=1)
    return graph.node("Sub", [x, reduced])


def _halves(graph: GraphBuilder, x: str) -> str:
    axis = graph.rng.choice([1, 2])
    size = (LENGTH, WIDTH)[axis - 1]
    first = graph.node("Split", [x, graph.weight(np.array([1, size - 1]))], 2, axis=axis)
    return graph.node("Concat", [f"{first}_1", first], axis=axis)


def _attention(graph: GraphBuilder, x: str) -> str:
    turned = graph.node("Transpose", [x], perm=[0, 2, 1])
    scores = graph.node("Softmax", [graph.node("MatMul", [x, turned])], axis=-1)
    return graph.node("MatMul", [scores, x])


def _flat_linear(graph: GraphBuilder, x: str) -> str:
    flat = graph.node("Reshape", [x, graph.weight(np.array([-1, WIDTH]))])
    linear = graph.node("Gemm", [flat, graph.noise(WIDTH, WIDTH), graph.noise(WIDTH)])
    shape = graph.node("Shape", [x])
    batch = graph.node("Gather", [shape, graph.weight(np.array([0]))])
    target = graph.node("Concat", [batch, graph.weight(np.array([LENGTH, WIDTH]))], axis=0)
    return graph.node("Reshape", [linear, target])


def _rows_last(graph: GraphBuilder, x: str) -> str:
    turned = graph.node("Transpose", [x], perm=[1, 2, 0])
    return graph.node("Transpose", [graph.node("Softmax", [turned], axis=1)], perm=[2, 0, 1])


def _recurrent(graph: GraphBuilder, x: str) -> str:
    turned = graph.node("Transpose", [x], perm=[1, 0, 2])
    weights = graph.noise(1, 3 * WIDTH, WIDTH), graph.noise(1, 3 * WIDTH, WIDTH)
    output = graph.node("GRU", [turned, *weights], hidden_size=WIDTH)
    squeezed = graph.node("Squeeze", [output, graph.weight(np.array([1]))])
    return graph.node("Transpose", [squeezed], perm=[1, 0, 2])


def _convolved(graph: GraphBuilder, x: str) -> str:
    return graph.node("Conv", [x, graph.noise(LENGTH, LENGTH, 3)], pads=[1, 1])


def _class_token(graph: GraphBuilder, x: str) -> str:
    batch = graph.node("Gather", [graph.node("Shape", [x]), graph.weight(np.array([0]))])
    target = graph.node("Concat", [batch, graph.weight(np.array([1, WIDTH]))], axis=0)
    token = graph.node("Expand", [graph.noise(1, 1, WIDTH), target])
    joined = graph.node("Concat", [token, x], axis=1)
    bounds = [graph.weight(np.array([value])) for value in (0, LENGTH, 1)]
    return graph.node("Slice", [joined, *bounds])


def _embedding(graph: GraphBuilder, x: str) -> str:
    best = graph.node("ArgMax", [x], axis=2, keepdims=0)
    return graph.node("Add", [x, graph.node("Gather", [graph.noise(WIDTH, WIDTH), best])])


def _gated(graph: GraphBuilder, x: str) -> str:
    condition = graph.node("Greater", [x, graph.weight(np.float32(0.1))])
    return graph.node("Where", [condition, x, graph.noise(1, LENGTH, 1)])


def _cumulative(graph: GraphBuilder, x: str) -> str:
    return graph.node("CumSum", [x, graph.weight(np.array(graph.rng.choice([1, 2])))])


def _loop(graph: GraphBuilder, x: str) -> str:
    return loop_of(graph, x, [helper.make_node("Identity", ["c"], ["go"])], [])


def _branches(graph: GraphBuilder, x: str) -> str:
    length = graph.node("Gather", [graph.node("Shape", [x]), graph.weight(np.array(1))])
    return if_of(graph, x, graph.node("Greater", [length, graph.weight(np.array(2))]))


def _zeros(graph: GraphBuilder, x: str) -> str:
    zeros = graph.node("ConstantOfShape", [graph.node("Shape", [x])])
    return graph.node("Max", [x, zeros])


ROW_WISE: tuple[Step, ...] = (
    _unary, _with_weight, _linear, _normalised, _softmax, _centred, _halves, _attention, _flat_linear, _rows_last,
    _recurrent, _convolved, _class_token, _embedding, _gated, _cumulative, _loop, _branches, _zeros,
)  # fmt: skip
"""Steps that keep rows apart."""
