"""Random graphs of 5 to 40 nodes: rows at axis 0 of inputs and outputs, half of them with operators in which rows meet."""

from __future__ import annotations

import random
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from benchmarks.rows_fuzz.graph_builder import LENGTH, WIDTH, GraphBuilder
from benchmarks.rows_fuzz.mixing_steps import MIXING, batch_statistics
from benchmarks.rows_fuzz.row_wise_steps import ROW_WISE

MAX_NODES = 40


@dataclass(frozen=True, slots=True)
class BuiltGraph:
    """A random graph as a model.

    Attributes:
        model: The model: `x` [N, LENGTH, WIDTH], outputs with rows at axis 0.
        mixed: Whether rows are mixed in an output, by construction.
        mixing: Names of its mixing steps.
    """

    model: onnx.ModelProto
    mixed: bool
    mixing: tuple[str, ...]

    @property
    def repeatable(self) -> bool:
        """Whether answers depend on the request alone.

        ONNX Runtime's BatchNormalization in training mode changes its weights from run to run (seen in 1.32).
        """
        return batch_statistics.__name__ not in self.mixing


def random_graph(seed: int) -> BuiltGraph:
    """Returns the random graph of a seed."""
    rng = random.Random(seed)
    graph = GraphBuilder(rng)
    graph.values["x"] = False
    wanted = rng.randint(5, MAX_NODES - 8)
    to_mix = rng.randint(1, 2) if rng.random() < 0.5 else 0
    while len(graph.nodes) < wanted or to_mix:
        x = graph.pick()
        if to_mix and (len(graph.nodes) >= wanted or rng.random() < 0.2):
            step, to_mix = rng.choice(MIXING), to_mix - 1
            graph.mixing.append(step.__name__)
            graph.values[step(graph, x)] = True
        elif rng.random() < 0.2 and len(graph.values) > 1:
            other = graph.pick()
            name = graph.node(rng.choice(["Add", "Mul", "Sub"]), [x, other])
            graph.values[name] = graph.values[x] or graph.values[other]
        else:
            graph.values[rng.choice(ROW_WISE)(graph, x)] = graph.values[x]
    return _built(graph)


def _built(graph: GraphBuilder) -> BuiltGraph:
    names = [name for name in graph.values if name != "x"]
    chosen = dict.fromkeys([names[-1], *graph.rng.sample(names, min(len(names), graph.rng.randint(0, 2)))])
    outputs = []
    for number, name in enumerate(chosen):
        # Some outputs hide small differences.
        if graph.rng.random() < 0.3:
            graph.nodes.append(
                helper.make_node("ArgMax", [name], [f"y{number}"], axis=2, name=f"best{number}")
            )
            kind = TensorProto.INT64
        else:
            graph.nodes.append(helper.make_node("Identity", [name], [f"y{number}"], name=f"last{number}"))
            kind = TensorProto.FLOAT
        outputs.append(helper.make_tensor_value_info(f"y{number}", kind, ["N", None, None]))
    made = helper.make_graph(
        graph.nodes,
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", LENGTH, WIDTH])],
        outputs,
        graph.weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return BuiltGraph(model, any(graph.values[name] for name in chosen), tuple(graph.mixing))
