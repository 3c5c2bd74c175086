"""Models whose rows meet for some values only, or behind a discrete output: random rows may not show it.

Each has an input `x` [N, 4], an output `y` with N rows, a tame and an extreme row, one of which is answered otherwise beside the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.zoo.zoo_model import OPSET, constant, floats, model, node, normal, value

TAME = np.array([[0.04, 0.03, -0.02, -0.12]], np.float32)
EXTREME = np.array([[90, -80, 70, -20]], np.float32)
MICROSOFT = "com.microsoft"
SQUARE = normal(np.random.default_rng(3), 4, 4)


@dataclass(frozen=True, slots=True)
class CoupledModel:
    """A model whose rows meet.

    Attributes:
        nodes: From `a`, which is computed from `x`, to `b`, from which `y` is computed.
        reason: What the finding of the batching check names.
        weights: Initialisers.
        functions: Model functions.
        kind: Element type of `y`.
        shape: Its shape.
        columns: Number of columns of `x`.
    """

    nodes: Sequence[onnx.NodeProto]
    reason: str
    weights: dict[str, np.ndarray]
    functions: Sequence[onnx.FunctionProto] = ()
    kind: int = TensorProto.FLOAT
    shape: Sequence[int | str] = ("N", 4)
    columns: int = 4

    def make(self) -> onnx.ModelProto:
        """Returns the model."""
        last = node("Mul", ["b", "two"], ["y"])
        weights = {"eps": np.full(self.columns, 1e-3, np.float32), "two": np.float32(2)}
        if self.kind != TensorProto.FLOAT:
            last = node("Add", ["b", "two"], ["y"])
            weights["two"] = np.array(2, np.int64)
        return model(
            [node("Add", ["x", "eps"], ["a"]), *self.nodes, last],
            [floats("x", "N", self.columns)],
            [value("y", self.kind, list(self.shape))],
            weights | self.weights,
            opsets={"": OPSET, MICROSOFT: 1, "own": 1},
            functions=self.functions,
        )

    @property
    def tame(self) -> np.ndarray:
        """A row of small values."""
        return TAME[:, : self.columns]

    @property
    def extreme(self) -> np.ndarray:
        """A row of large values."""
        return EXTREME[:, : self.columns]


def _branch(
    name: str, nodes: Sequence[onnx.NodeProto], weights: dict[str, np.ndarray] | None = None
) -> onnx.GraphProto:
    made = [constant(np.asarray(array), key) for key, array in (weights or {}).items()]
    return helper.make_graph(list(nodes), name, [], [floats("branch", "N", 4)], made)


def _early_stop() -> onnx.GraphProto:
    """Doubles all rows until each has a value above a limit."""
    return helper.make_graph(
        [
            node("Mul", ["v", "twice"], ["doubled"]),
            node("ReduceMin", ["doubled"], ["least"], name="least", keepdims=0),
            node("Less", ["least", "limit"], ["go"]),
        ],
        "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), floats("v", "N", 4)],
        [value("go", TensorProto.BOOL, []), floats("doubled", "N", 4)],
        [constant(np.float32(2), "twice"), constant(np.float32(100), "limit")],
    )


def _sum_of_slices() -> onnx.GraphProto:
    return helper.make_graph(
        [node("Add", ["sum", "row"], ["next"]), node("Identity", ["next"], ["out"])],
        "body",
        [floats("sum", 4), floats("row", 4)],
        [floats("next", 4), floats("out", 4)],
    )


_QUANTISED = (
    node("DynamicQuantizeLinear", ["a"], ["q", "s", "z"], name="scale"),
    node("DequantizeLinear", ["q", "s", "z"], ["d"]),
)
_FUNCTION = helper.make_function(
    "own",
    "Fake",
    ["v"],
    ["w"],
    [node("DynamicQuantizeLinear", ["v"], ["q", "s", "z"]), node("DequantizeLinear", ["q", "s", "z"], ["w"])],
    [helper.make_opsetid("", OPSET)],
)
_BEST = (node("MatMul", ["d", "w"], ["logits"]), node("ArgMax", ["logits"], ["b"], axis=1, keepdims=1))
_SIDES = np.array([[1, -1]] * 4, np.float32)
_BYTES = np.random.default_rng(5).integers(-100, 100, (4, 4)).astype(np.int8)
_LSTM = np.random.default_rng(6).integers(-100, 100, (2, 1, 4, 16)).astype(np.int8)

COUPLED: dict[str, CoupledModel] = {
    "range_gate": CoupledModel(
        [
            node("ReduceMax", ["a"], ["most"], name="most", keepdims=0),
            node("Greater", ["most", "limit"], ["over"], name="over"),
            node("Where", ["over", "small", "one"], ["factor"]),
            node("Mul", ["a", "factor"], ["b"]),
        ],
        "ReduceMax 'most'",
        {"limit": np.float32(16), "small": np.float32(1 / 255), "one": np.float32(1)},
    ),
    "loop_early_stop_over_batch": CoupledModel(
        [
            node("Abs", ["a"], ["p"]),
            node("Loop", ["trips", "yes", "p"], ["b"], name="loop", body=_early_stop()),
        ],
        "ReduceMin 'least'",
        {"trips": np.array(6, np.int64), "yes": np.bool_(True)},
    ),
    "dynamic_quant_argmax": CoupledModel(
        [*_QUANTISED, *_BEST], "DynamicQuantizeLinear", {"w": _SIDES}, kind=TensorProto.INT64, shape=("N", 1)
    ),
    "dynamic_quant_in_a_function": CoupledModel(
        [node("Fake", ["a"], ["b"], domain="own")], "DynamicQuantizeLinear", {}, (_FUNCTION,)
    ),
    "dynamic_quant_product": CoupledModel(
        [node("DynamicQuantizeMatMul", ["a", "w", "scale", "zero"], ["b"], name="product", domain=MICROSOFT)],
        "DynamicQuantizeMatMul 'product'",
        {"w": _BYTES, "scale": np.float32(0.01), "zero": np.int8(0)},
    ),
    "dynamic_quant_lstm": CoupledModel(
        [
            node("Unsqueeze", ["a", "axis"], ["steps"]),
            node(
                "DynamicQuantizeLSTM",
                ["steps", "w", "r", "", "", "", "", "", "scale", "zero", "scale", "zero"],
                ["h"],
                name="lstm",
                domain=MICROSOFT,
                hidden_size=4,
            ),
            node("Reshape", ["h", "flat"], ["b"]),
        ],
        "DynamicQuantizeLSTM 'lstm'",
        {
            "axis": np.array([0]),
            "w": _LSTM[0],
            "r": _LSTM[1],
            "scale": np.float32([0.01]),
            "zero": np.int8([0]),
            "flat": np.array([-1, 4]),
        },
    ),
    "condition_of_a_branch": CoupledModel(
        [
            node("ReduceSum", ["a"], ["total"], name="total", keepdims=0),
            node("Greater", ["total", "limit"], ["over"]),
            node(
                "If",
                ["over"],
                ["b"],
                then_branch=_branch("then", [node("Neg", ["a"], ["branch"])]),
                else_branch=_branch("else", [node("Tanh", ["a"], ["branch"])]),
            ),
        ],
        "ReduceSum 'total'",
        {"limit": np.float32(9)},
    ),
    "gate_in_a_branch": CoupledModel(
        [
            node("Shape", ["a"], ["size"], start=1),
            node("Greater", ["size", "three"], ["wide"]),
            node("Squeeze", ["wide"], ["is_wide"]),
            node(
                "If",
                ["is_wide"],
                ["b"],
                then_branch=_branch(
                    "then",
                    [
                        node("ReduceMax", ["a"], ["most"], name="most", keepdims=0),
                        node("Min", ["most", "one"], ["factor"]),
                        node("Mul", ["a", "factor"], ["branch"]),
                    ],
                    {"one": np.float32(1)},
                ),
                else_branch=_branch("else", [node("Neg", ["a"], ["branch"])]),
            ),
        ],
        "ReduceMax 'most'",
        {"three": np.array([3])},
    ),
    "scan_over_rows": CoupledModel(
        [node("Scan", ["zeros", "a"], ["sum", "b"], name="scan", body=_sum_of_slices(), num_scan_inputs=1)],
        "Scan 'scan'",
        {"zeros": np.zeros(4, np.float32)},
    ),
    "reduced_mask": CoupledModel(
        [
            node("Less", ["a", "limit"], ["small"]),
            node("Cast", ["small"], ["counted"], to=TensorProto.INT32),
            node("ReduceMin", ["counted", "axis"], ["all_small"], name="all", keepdims=1),
            node("Cast", ["all_small"], ["mask"], to=TensorProto.BOOL),
            node("Where", ["mask", "a", "ones"], ["b"]),
        ],
        "ReduceMin 'all'",
        {"limit": np.float32(50), "axis": np.array([0]), "ones": np.ones((1, 4), np.float32)},
    ),
    "size_as_data": CoupledModel(
        [
            node("Size", ["a"], ["size"]),
            node("Cast", ["size"], ["number"], to=TensorProto.FLOAT),
            node("Div", ["a", "number"], ["b"], name="mean"),
        ],
        "number of rows",
        {},
    ),
    "shape_as_data": CoupledModel(
        [
            node("Shape", ["a"], ["shape"], end=1),
            node("Cast", ["shape"], ["number"], to=TensorProto.FLOAT),
            node("Mul", ["a", "number"], ["b"], name="times"),
        ],
        "number of rows",
        {},
    ),
}
"""By name. The first three were batched once, and about half of the answers to 32 requests in flight were wrong."""
