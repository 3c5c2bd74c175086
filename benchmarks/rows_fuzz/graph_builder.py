"""A random graph under construction, and the nodes with bodies that several steps use."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, LENGTH = 4, 3


@dataclass(slots=True)
class GraphBuilder:
    """A graph under construction. Values have the shape [N, LENGTH, WIDTH].

    Attributes:
        rng: Source of every choice.
        nodes: Its nodes so far.
        weights: Its initialisers.
        values: Names of values, and whether rows are mixed in them.
        mixing: Names of the mixing operators in use.
    """

    rng: random.Random
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    values: dict[str, bool] = field(default_factory=dict)
    mixing: list[str] = field(default_factory=list)

    def weight(self, array: npt.ArrayLike) -> str:
        """Adds a weight and returns its name."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def noise(self, *shape: int) -> str:
        """Adds a weight of random floats and returns its name."""
        generator = np.random.default_rng(self.rng.getrandbits(32))
        return self.weight((generator.standard_normal(shape) * 0.5).astype(np.float32))

    def node(self, op: str, inputs: Iterable[str], num_outputs: int = 1, **attributes: object) -> str:
        """Adds a node and returns its first output."""
        name = f"n{len(self.nodes)}"
        outputs = [name, *(f"{name}_{index}" for index in range(1, num_outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=f"{op}_{name}", **attributes))
        return name

    def pick(self) -> str:
        """Returns a value, more often a recent one."""
        names = list(self.values)
        return names[max(self.rng.randrange(len(names)), self.rng.randrange(len(names)))]


Step = Callable[[GraphBuilder, str], str]
"""Adds nodes that compute a value from one; returns its name."""


def loop_of(
    graph: GraphBuilder, x: str, condition: list[onnx.NodeProto], weights: list[onnx.TensorProto]
) -> str:
    """Adds a loop that halves a value up to three times, while a condition over `v2` holds."""
    half = numpy_helper.from_array(np.float32(0.5), "half")
    body = helper.make_graph(
        [helper.make_node("Mul", ["v", "half"], ["v2"], name=f"loop_mul{len(graph.nodes)}"), *condition],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, ["N", LENGTH, WIDTH]),
        ],
        [
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, ["N", LENGTH, WIDTH]),
        ],
        [half, *weights],
    )
    return graph.node("Loop", [graph.weight(np.array(3)), graph.weight(np.array(True)), x], body=body)


def if_of(graph: GraphBuilder, x: str, condition: str) -> str:
    """Adds a branch by a condition."""
    outputs = [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)]
    bodies = {
        name: helper.make_graph(
            [helper.make_node(op, [x], ["b"], name=f"{name}{len(graph.nodes)}")], name, [], outputs
        )
        for name, op in (("then_branch", "Tanh"), ("else_branch", "Neg"))
    }
    return graph.node("If", [condition], **bodies)
