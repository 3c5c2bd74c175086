"""Graphs whose boundaries carry more than floats: strings, half precision, scalars, nothing at all."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.zoo.zoo_model import OPSET, ZooModel, floats, integers, model, node, normal, random_floats, value


def strings() -> onnx.ModelProto:
    """Words in, their plurals and a score out: strings cross most cuts."""
    rng = np.random.default_rng(5)
    weights = {"table": normal(rng, 5, 4), "other": np.array("ß-other"), "ending": np.array("s")}
    known = ["meshs", "stages", "workers", "größes"]
    nodes = [
        node("StringConcat", ["words", "ending"], ["ended"]),
        node("LabelEncoder", ["ended"], ["ids"], domain="ai.onnx.ml", keys_strings=known,
             values_int64s=[0, 1, 2, 3], default_int64=4),
        node("Gather", ["table", "ids"], ["vectors"]),
        node("Tanh", ["vectors"], ["squashed"]),
        node("LabelEncoder", ["ids"], ["again"], domain="ai.onnx.ml", keys_int64s=[0, 1, 2],
             values_strings=["a", "b", ""], default_string="unknown"),
        node("Equal", ["again", "other"], ["is_other"]),
        node("Where", ["is_other", "other", "ended"], ["chosen"]),
        node("Sigmoid", ["squashed"], ["scores"]),
    ]  # fmt: skip
    return model(
        nodes,
        [value("words", TensorProto.STRING, ["W"])],
        [
            value("chosen", TensorProto.STRING, ["W"]),
            floats("scores", "W", 4),
            value("again", TensorProto.STRING, ["W"]),
        ],
        weights,
        opsets={"": OPSET, "ai.onnx.ml": 3},
    )


def half_precision() -> onnx.ModelProto:
    """FP16 in, BF16 in the middle and out."""
    nodes = [
        node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        node("Tanh", ["wide"], ["squashed"]),
        node("Cast", ["squashed"], ["brain"], to=TensorProto.BFLOAT16),
        node("Reshape", ["brain", "flat"], ["row"]),
        node("Cast", ["row"], ["wide_again"], to=TensorProto.FLOAT),
        node("Cast", ["wide_again"], ["half"], to=TensorProto.FLOAT16),
        node("Transpose", ["half"], ["turned"]),
    ]
    outputs = [value("turned", TensorProto.FLOAT16, ["M", 1]), value("brain", TensorProto.BFLOAT16, ["N", 4])]
    inputs = [value("x", TensorProto.FLOAT16, ["N", 4])]
    return model(nodes, inputs, outputs, {"flat": np.array([1, -1])})


def strings_and_bfloat() -> onnx.ModelProto:
    """A stage that takes strings and gives BF16, for which NumPy has no type."""
    nodes = [
        node("Cast", ["words"], ["numbers"], to=TensorProto.FLOAT),
        node("Cast", ["numbers"], ["brain"], to=TensorProto.BFLOAT16),
        node("Identity", ["words"], ["same"]),
    ]
    outputs = [value("brain", TensorProto.BFLOAT16, ["N"]), value("same", TensorProto.STRING, ["N"])]
    return model(nodes, [value("words", TensorProto.STRING, ["N"])], outputs)


def scalars_and_empties() -> onnx.ModelProto:
    """Scalars, shapes and tensors without elements cross the cuts."""
    weights = {"nothing": np.zeros((0, 3), np.float32), "axis": np.array([1]), "one": np.array(1, np.int64)}
    nodes = [
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "one"], ["columns"]),
        node("Slice", ["x", "big", "bigger"], ["none"]),
        node("Abs", ["none"], ["still_none"]),
        node("Concat", ["still_none", "nothing"], ["no_rows"], axis=0),
        node("Neg", ["total"], ["negative"]),
        node("Mul", ["columns", "one"], ["count"]),
        node("Add", ["x", "negative"], ["shifted"]),
        node("Reshape", ["shifted", "shape"], ["y"]),
    ]
    weights |= {"big": np.array([1000]), "bigger": np.array([2000])}
    outputs = [floats("y", "N", 3), integers("count"), floats("no_rows", "E", 3)]
    return model(nodes, [floats("x", "N", 3)], outputs, weights)


def sequence_inside() -> onnx.ModelProto:
    """A sequence in the middle: no cut may go through it."""
    nodes = [
        node("Tanh", ["x"], ["a"]),
        node("SplitToSequence", ["a"], ["parts"], axis=1),
        node("SequenceLength", ["parts"], ["length"]),
        node("ConcatFromSequence", ["parts"], ["joined"], axis=0),
        node("Neg", ["joined"], ["b"]),
        node("Sigmoid", ["b"], ["y"]),
        node("Abs", ["y"], ["z"]),
    ]
    return model(nodes, [floats("x", "N", 4)], [floats("z", None, None), integers("length")])


def optional_inside() -> onnx.ModelProto:
    """An optional value in the middle: the cut moves to where there is a tensor."""
    nodes = [
        node("Tanh", ["x"], ["a"]),
        node("Optional", ["a"], ["maybe"]),
        node("OptionalHasElement", ["maybe"], ["there"]),
        node("OptionalGetElement", ["maybe"], ["b"]),
        node("Neg", ["b"], ["c"]),
        node("Sigmoid", ["c"], ["y"]),
    ]
    return model(nodes, [floats("x", "N", 4)], [floats("y", "N", 4), value("there", TensorProto.BOOL, [])])


def sequence_loop() -> onnx.ModelProto:
    """A loop that collects tensors in a sequence, one of them from outside, which is joined behind it."""
    sequence = helper.make_tensor_sequence_value_info("before", TensorProto.FLOAT, None)
    after = helper.make_tensor_sequence_value_info("after", TensorProto.FLOAT, None)
    body = helper.make_graph(
        [
            node("Cast", ["step"], ["number"], to=TensorProto.FLOAT),
            node("Mul", ["a", "number"], ["part"]),
            node("SequenceInsert", ["before", "part"], ["after"]),
            node("Identity", ["keep"], ["keep_on"]),
        ],
        "body",
        [value("step", TensorProto.INT64, []), value("keep", TensorProto.BOOL, []), sequence],
        [value("keep_on", TensorProto.BOOL, []), after],
    )
    nodes = [
        node("Tanh", ["x"], ["a"]),
        node("SequenceConstruct", ["a"], ["first"]),
        node("Loop", ["trips", "go", "first"], ["parts"], body=body),
        node("ConcatFromSequence", ["parts"], ["joined"], axis=0),
        node("Neg", ["joined"], ["b"]),
        node("Abs", ["b"], ["y"]),
    ]
    weights = {"trips": np.array(3), "go": np.array(True)}
    return model(nodes, [floats("x", "N", 4)], [floats("y", "M", 4)], weights)


def shapes() -> onnx.ModelProto:
    """Shape computations as exporters write them."""
    rng = np.random.default_rng(6)
    weights = {"zero": np.array([0]), "minus": np.array([-1]), "w": normal(rng, 12, 4)}
    nodes = [
        node("Relu", ["x"], ["act"]),
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"]),
        node("Concat", ["batch", "minus"], ["target"], axis=0),
        node("Exp", ["act"], ["grown"]),
        node("Reshape", ["grown", "target"], ["flat"]),
        node("MatMul", ["flat", "w"], ["dense"]),
        node("Tanh", ["dense"], ["squashed"]),
        node("Expand", ["squashed", "target4"], ["y"]),
        node("Concat", ["batch", "four"], ["target4"], axis=0),
    ]
    nodes[-1], nodes[-2] = nodes[-2], nodes[-1]
    weights["four"] = np.array([4])
    return model(nodes, [floats("x", "N", 3, 4)], [floats("y", "N", 4)], weights)


def _words(seed: int, batch: int) -> dict[str, np.ndarray]:
    words = np.array(["mesh", "stage", "worker", "größe", "", "any other"], dtype=np.object_)
    return {"words": np.random.default_rng(seed).choice(words, batch + 2)}


def _numerals(seed: int, batch: int) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(seed).integers(0, 100, batch)
    return {"words": np.array([str(number) for number in numbers], dtype=np.object_)}


def _halves(seed: int, batch: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal((batch, 4)).astype(np.float16)}


ODD_VALUES = (
    ZooModel("strings", strings, _words),
    ZooModel("half_precision", half_precision, _halves),
    ZooModel("strings_and_bfloat", strings_and_bfloat, _numerals, max_stages=2, random=False),
    ZooModel("scalars_and_empties", scalars_and_empties, random_floats("x", 3)),
    ZooModel("sequence_inside", sequence_inside, random_floats("x", 4), max_stages=3),
    ZooModel("optional_inside", optional_inside, random_floats("x", 4), max_stages=3),
    ZooModel("sequence_loop", sequence_loop, random_floats("x", 4), max_stages=3),
    ZooModel("shapes", shapes, random_floats("x", 3, 4)),
)
