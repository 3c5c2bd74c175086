"""Graphs with graphs inside: If, Loop and Scan that read values from outside, and model functions."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.zoo.zoo_model import OPSET, ZooModel, constant, floats, model, node, normal, random_floats, value


def if_loop() -> onnx.ModelProto:
    """An If and a Loop whose bodies read values of the outer graph, one of them from far above."""
    rng = np.random.default_rng(4)
    weights = {
        "w": normal(rng, 6, 6),
        "trips": np.array(3, np.int64),
        "go": np.array(True),
        "zero": np.array(0, np.float32),
        "half": np.array(0.5, np.float32),
    }
    then_graph = helper.make_graph(
        [node("Mul", ["early", "hidden"], ["then_out"])], "then", [], [floats("then_out", "N", 6)]
    )
    else_graph = helper.make_graph(
        [node("Sub", ["early", "hidden"], ["else_out"])], "else", [], [floats("else_out", "N", 6)]
    )
    inner = helper.make_graph(
        [node("Add", ["doubled", "early"], ["inner_then"])], "inner_then", [], [floats("inner_then", "N", 6)]
    )
    inner_else = helper.make_graph(
        [node("Mul", ["doubled", "half"], ["inner_else"])], "inner_else", [], [floats("inner_else", "N", 6)]
    )
    body = helper.make_graph(
        [
            node("MatMul", ["state", "w"], ["moved"]),
            node("Mul", ["moved", "half"], ["doubled"]),
            # Two levels down, and it reads a value of the outermost graph.
            node("If", ["is_positive"], ["next"], then_branch=inner, else_branch=inner_else),
            node("Identity", ["keep"], ["keep_on"]),
        ],
        "body",
        [
            value("step", TensorProto.INT64, []),
            value("keep", TensorProto.BOOL, []),
            floats("state", "N", 6),
        ],
        [value("keep_on", TensorProto.BOOL, []), floats("next", "N", 6), floats("doubled", "N", 6)],
    )
    nodes = [
        node("Tanh", ["x"], ["early"]),
        node("MatMul", ["early", "w"], ["hidden"]),
        node("ReduceSum", ["hidden"], ["total"], keepdims=0),
        node("Greater", ["total", "zero"], ["is_positive"]),
        node("If", ["is_positive"], ["branched"], then_branch=then_graph, else_branch=else_graph),
        node("Sigmoid", ["branched"], ["gate"]),
        node("Loop", ["trips", "go", "gate"], ["looped", "states"], body=body),
        node("Add", ["looped", "early"], ["y"]),
    ]
    outputs = [floats("y", "N", 6), floats("states", "T", "N", 6)]
    return model(nodes, [floats("x", "N", 6)], outputs, weights)


def scan() -> onnx.ModelProto:
    """A Scan over time that reads an outer value."""
    body = helper.make_graph(
        [
            node("Mul", ["before", "decay"], ["decayed"]),
            node("Add", ["decayed", "now"], ["after"]),
            node("Identity", ["after"], ["seen"]),
        ],
        "body",
        [floats("before", 4), floats("now", 4)],
        [floats("after", 4), floats("seen", 4)],
    )
    nodes = [
        node("ReduceMean", ["x"], ["mean"], keepdims=0),
        node("Sigmoid", ["mean"], ["decay"]),
        node("Abs", ["x"], ["positive"]),
        node("Scan", ["start", "positive"], ["last", "all"], body=body, num_scan_inputs=1),
        node("Mul", ["all", "decay"], ["y"]),
        node("Neg", ["last"], ["z"]),
    ]
    outputs = [floats("y", "T", 4), floats("z", 4)]
    return model(nodes, [floats("x", "T", 4)], outputs, {"start": np.zeros(4, np.float32)})


def functions() -> onnx.ModelProto:
    """Model-local functions, one calling another, beside operators of two domains."""
    opsets = [helper.make_opsetid("", OPSET)]
    scaled = helper.make_function(
        "zoo.local",
        "Scaled",
        ["a"],
        ["b"],
        [
            node("Constant", [], ["factor"], value=constant(np.array(1.5, np.float32))),
            node("Mul", ["a", "factor"], ["b"]),
        ],
        opsets,
    )
    block = helper.make_function(
        "zoo.local",
        "Block",
        ["a"],
        ["b"],
        [
            node("Scaled", ["a"], ["s"], domain="zoo.local"),
            node("Tanh", ["s"], ["t"]),
            node("Add", ["t", "a"], ["b"]),
        ],
        [*opsets, helper.make_opsetid("zoo.local", 1)],
    )
    nodes = [
        node("Block", ["x"], ["h0"], domain="zoo.local"),
        node("Normalizer", ["h0"], ["h1"], domain="ai.onnx.ml", norm="L2"),
        node("Block", ["h1"], ["h2"], domain="zoo.local"),
        node("Gelu", ["h2"], ["y"], domain="com.microsoft"),
    ]
    return model(
        nodes,
        [floats("x", "N", 5)],
        [floats("y", "N", 5)],
        opsets={"": OPSET, "ai.onnx.ml": 3, "com.microsoft": 1, "zoo.local": 1},
        functions=[scaled, block],
    )


CONTROL_FLOW = (
    ZooModel("if_loop", if_loop, random_floats("x", 6)),
    ZooModel("scan", scan, random_floats("x", 4)),
    ZooModel("functions", functions, random_floats("x", 5)),
)
