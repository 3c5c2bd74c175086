"""Random graphs against the proof that rows are independent: `python -m benchmarks.rows_fuzz --num 2000`.

Each graph has 5 to 40 nodes and rows at axis 0 of its inputs and outputs; half of them have operators that mix rows. A graph passes the steps of
a deployment; where it would run batches, 32 requests run in batches with extreme neighbours and are compared with their runs alone, bit by
bit. The share of the graphs without mixing that are proven and that are batched is reported.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from onnxmesh.errors import MeshError
from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.graph.reading.node_order import load_graph
from onnxmesh.graph.rows.row_analysis import analyse_rows
from onnxmesh.graph.rows.row_state import Mixed, Rows, row_input
from onnxmesh.graph.runtime.partition_chain import direct_feeds, live_tensors
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.batching import BatchingSpec, StageBatching
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS, Partition
from onnxmesh.tensors.arrays import from_array, to_array

WIDTH, LENGTH = 4, 3
IN_FLIGHT = 32
MAX_NODES = 40
NEIGHBOURS = (1.0, 100.0, 0.0, 255.0, 1e4, 0.01)
Floats = npt.NDArray[np.float32]


@dataclass(slots=True)
class RandomGraph:
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


Step = Callable[[RandomGraph, str], str]


def _unary(graph: RandomGraph, x: str) -> str:
    return graph.node(graph.rng.choice(["Relu", "Tanh", "Sigmoid", "Neg", "Abs", "Softplus", "Erf"]), [x])


def _with_weight(graph: RandomGraph, x: str) -> str:
    shape = graph.rng.choice([(WIDTH,), (LENGTH, 1), (1, 1, WIDTH), ()])
    return graph.node(graph.rng.choice(["Add", "Mul", "Sub", "Max"]), [x, graph.noise(*shape)])


def _linear(graph: RandomGraph, x: str) -> str:
    return graph.node("MatMul", [x, graph.noise(WIDTH, WIDTH)])


def _normalised(graph: RandomGraph, x: str) -> str:
    return graph.node("LayerNormalization", [x, graph.noise(WIDTH), graph.noise(WIDTH)])


def _softmax(graph: RandomGraph, x: str) -> str:
    return graph.node("Softmax", [x], axis=graph.rng.choice([1, 2, -1]))


def _centred(graph: RandomGraph, x: str) -> str:
    op = graph.rng.choice(["ReduceMean", "ReduceMax", "ReduceSum"])
    reduced = graph.node(op, [x, graph.weight(np.array([graph.rng.choice([1, 2])]))], keepdims=1)
    return graph.node("Sub", [x, reduced])


def _halves(graph: RandomGraph, x: str) -> str:
    axis = graph.rng.choice([1, 2])
    size = (LENGTH, WIDTH)[axis - 1]
    first = graph.node("Split", [x, graph.weight(np.array([1, size - 1]))], 2, axis=axis)
    return graph.node("Concat", [f"{first}_1", first], axis=axis)


def _attention(graph: RandomGraph, x: str) -> str:
    turned = graph.node("Transpose", [x], perm=[0, 2, 1])
    scores = graph.node("Softmax", [graph.node("MatMul", [x, turned])], axis=-1)
    return graph.node("MatMul", [scores, x])


def _flat_linear(graph: RandomGraph, x: str) -> str:
    flat = graph.node("Reshape", [x, graph.weight(np.array([-1, WIDTH]))])
    linear = graph.node("Gemm", [flat, graph.noise(WIDTH, WIDTH), graph.noise(WIDTH)])
    shape = graph.node("Shape", [x])
    batch = graph.node("Gather", [shape, graph.weight(np.array([0]))])
    target = graph.node("Concat", [batch, graph.weight(np.array([LENGTH, WIDTH]))], axis=0)
    return graph.node("Reshape", [linear, target])


def _rows_last(graph: RandomGraph, x: str) -> str:
    turned = graph.node("Transpose", [x], perm=[1, 2, 0])
    return graph.node("Transpose", [graph.node("Softmax", [turned], axis=1)], perm=[2, 0, 1])


def _recurrent(graph: RandomGraph, x: str) -> str:
    turned = graph.node("Transpose", [x], perm=[1, 0, 2])
    weights = graph.noise(1, 3 * WIDTH, WIDTH), graph.noise(1, 3 * WIDTH, WIDTH)
    output = graph.node("GRU", [turned, *weights], hidden_size=WIDTH)
    squeezed = graph.node("Squeeze", [output, graph.weight(np.array([1]))])
    return graph.node("Transpose", [squeezed], perm=[1, 0, 2])


def _convolved(graph: RandomGraph, x: str) -> str:
    return graph.node("Conv", [x, graph.noise(LENGTH, LENGTH, 3)], pads=[1, 1])


def _class_token(graph: RandomGraph, x: str) -> str:
    batch = graph.node("Gather", [graph.node("Shape", [x]), graph.weight(np.array([0]))])
    target = graph.node("Concat", [batch, graph.weight(np.array([1, WIDTH]))], axis=0)
    token = graph.node("Expand", [graph.noise(1, 1, WIDTH), target])
    joined = graph.node("Concat", [token, x], axis=1)
    bounds = [graph.weight(np.array([value])) for value in (0, LENGTH, 1)]
    return graph.node("Slice", [joined, *bounds])


def _embedding(graph: RandomGraph, x: str) -> str:
    best = graph.node("ArgMax", [x], axis=2, keepdims=0)
    return graph.node("Add", [x, graph.node("Gather", [graph.noise(WIDTH, WIDTH), best])])


def _gated(graph: RandomGraph, x: str) -> str:
    condition = graph.node("Greater", [x, graph.weight(np.float32(0.1))])
    return graph.node("Where", [condition, x, graph.noise(1, LENGTH, 1)])


def _cumulative(graph: RandomGraph, x: str) -> str:
    return graph.node("CumSum", [x, graph.weight(np.array(graph.rng.choice([1, 2])))])


def _loop_of(
    graph: RandomGraph, x: str, condition: list[onnx.NodeProto], weights: list[onnx.TensorProto]
) -> str:
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


def _loop(graph: RandomGraph, x: str) -> str:
    return _loop_of(graph, x, [helper.make_node("Identity", ["c"], ["go"])], [])


def _branches(graph: RandomGraph, x: str) -> str:
    length = graph.node("Gather", [graph.node("Shape", [x]), graph.weight(np.array(1))])
    return _if(graph, x, graph.node("Greater", [length, graph.weight(np.array(2))]))


def _if(graph: RandomGraph, x: str, condition: str) -> str:
    outputs = [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)]
    bodies = {
        name: helper.make_graph(
            [helper.make_node(op, [x], ["b"], name=f"{name}{len(graph.nodes)}")], name, [], outputs
        )
        for name, op in (("then_branch", "Tanh"), ("else_branch", "Neg"))
    }
    return graph.node("If", [condition], **bodies)


def _zeros(graph: RandomGraph, x: str) -> str:
    zeros = graph.node("ConstantOfShape", [graph.node("Shape", [x])])
    return graph.node("Max", [x, zeros])


STEPS: tuple[Step, ...] = (
    _unary, _with_weight, _linear, _normalised, _softmax, _centred, _halves, _attention, _flat_linear, _rows_last,
    _recurrent, _convolved, _class_token, _embedding, _gated, _cumulative, _loop, _branches, _zeros,
)  # fmt: skip
"""Steps that keep rows apart."""


def _range_gate(graph: RandomGraph, x: str) -> str:
    over = graph.node("Greater", [graph.node("ReduceMax", [x], keepdims=0), graph.weight(np.float32(16))])
    return graph.node("Mul", [x, graph.node("Where", [over, graph.noise(), graph.noise()])])


def _over_rows(graph: RandomGraph, x: str) -> str:
    return graph.node("Softmax", [x], axis=0)


def _sum_of_rows(graph: RandomGraph, x: str) -> str:
    return graph.node("CumSum", [x, graph.weight(np.array(0))])


def _mean_of_rows(graph: RandomGraph, x: str) -> str:
    return graph.node("Sub", [x, graph.node("ReduceMean", [x, graph.weight(np.array([0]))], keepdims=1)])


def _one_scale(graph: RandomGraph, x: str) -> str:
    quantized = graph.node("DynamicQuantizeLinear", [x], 3)
    return graph.node("DequantizeLinear", [quantized, f"{quantized}_1", f"{quantized}_2"])


def _count_as_data(graph: RandomGraph, x: str) -> str:
    batch = graph.node("Gather", [graph.node("Shape", [x]), graph.weight(np.array(0))])
    return graph.node("Div", [x, graph.node("Cast", [batch], to=TensorProto.FLOAT)])


def _positions_of_rows(graph: RandomGraph, x: str) -> str:
    batch = graph.node("Gather", [graph.node("Shape", [x]), graph.weight(np.array(0))])
    positions = graph.node("Range", [graph.weight(np.array(0)), batch, graph.weight(np.array(1))])
    floats = graph.node("Cast", [positions], to=TensorProto.FLOAT)
    return graph.node("Add", [x, graph.node("Reshape", [floats, graph.weight(np.array([-1, 1, 1]))])])


def _first_row(graph: RandomGraph, x: str) -> str:
    bounds = [graph.weight(np.array([value])) for value in (0, 1, 0)]
    return graph.node("Add", [x, graph.node("Slice", [x, *bounds])])


def _pairwise(graph: RandomGraph, x: str) -> str:
    flat = graph.node("Reshape", [x, graph.weight(np.array([0, -1]))])
    scores = graph.node("Softmax", [graph.node("MatMul", [flat, graph.node("Transpose", [flat])])], axis=-1)
    mixed = graph.node("MatMul", [scores, flat])
    return graph.node("Reshape", [mixed, graph.weight(np.array([0, LENGTH, WIDTH]))])


def _until_all_done(graph: RandomGraph, x: str) -> str:
    condition = [
        helper.make_node("ReduceMax", ["v2"], ["largest"], keepdims=0, name=f"loop_max{len(graph.nodes)}"),
        helper.make_node("Greater", ["largest", "limit"], ["go"]),
    ]
    return _loop_of(graph, x, condition, [numpy_helper.from_array(np.float32(5), "limit")])


def _batch_statistics(graph: RandomGraph, x: str) -> str:
    parameters = [graph.weight(np.full(LENGTH, value, np.float32)) for value in (1, 0, 0, 1)]
    return graph.node("BatchNormalization", [x, *parameters], 3, training_mode=1)


def _branch_by_rows(graph: RandomGraph, x: str) -> str:
    total = graph.node("ReduceSum", [x], keepdims=0)
    return _if(graph, x, graph.node("Greater", [total, graph.weight(np.float32(9))]))


MIXING: tuple[Step, ...] = (
    _range_gate, _over_rows, _sum_of_rows, _mean_of_rows, _one_scale, _count_as_data, _positions_of_rows, _first_row,
    _pairwise, _until_all_done, _batch_statistics, _branch_by_rows,
)  # fmt: skip
"""Steps in which rows meet."""


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


def random_graph(seed: int) -> BuiltGraph:
    """Returns the random graph of a seed."""
    rng = random.Random(seed)
    graph = RandomGraph(rng)
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
            graph.values[rng.choice(STEPS)(graph, x)] = graph.values[x]
    return _built(graph)


def _built(graph: RandomGraph) -> BuiltGraph:
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


def requests(seed: int, count: int = IN_FLIGHT) -> list[Floats]:
    """Returns requests of one row each, tame and extreme ones in turn."""
    generator = np.random.default_rng(seed)
    return [
        (
            generator.standard_normal((1, LENGTH, WIDTH)) * NEIGHBOURS[generator.integers(len(NEIGHBOURS))]
        ).astype(np.float32)
        for _ in range(count)
    ]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one graph.

    Attributes:
        mixed: Whether rows are mixed in an output, by construction.
        proven: Whether the whole graph is proven to keep rows apart.
        batched: Whether every stage runs batches.
        wrong: Answers of batched stages that differ from runs alone.
        reason: Why it is not proven or not batched.
    """

    mixed: bool
    proven: bool
    batched: bool
    wrong: int
    reason: str


def examine(seed: int, folder: Path, num_stages: int) -> Verdict:
    """Takes a random graph through the steps of a deployment and runs its stages in batches.

    Args:
        seed: Of the graph and the requests.
        folder: An empty folder.
        num_stages: Number of stages, where the graph can be cut so often.
    """
    built = random_graph(seed)
    source = folder / "model.onnx"
    onnx.save(built.model, source)
    states = analyse_rows(load_graph(source), {"x": row_input((0, LENGTH, WIDTH))})
    found = [states[output.name].state for output in built.model.graph.output]
    proven = all(state == Rows(0) for state in found)
    reason = next((state.reason for state in found if isinstance(state, Mixed)), "")
    work = folder / "work"
    costs = GraphCosts.from_json(
        json.loads(prepare(PrepareJob(source, work, PrepareOptions(OptimisationLevel.ALL))))["costs"]
    )
    legal = costs.legal_cuts
    cuts = sorted({legal[len(legal) * part // num_stages] for part in range(1, num_stages)}) if legal else []
    answer = json.loads(cut_prepared(CutJob(work, CutOptions(tuple(cuts), batching=BatchingSpec()))))
    partitions = [Partition.from_plain(plain) for plain in answer["partitions"]]
    batching = [StageBatching.from_plain(plain) for plain in answer["batching"]]
    wrong = _wrong_answers(work / PARTITIONS, partitions, batching, requests(seed))
    reason = reason or next((each.why_not for each in batching if each.why_not), "")
    return Verdict(built.mixed, proven, all(each.max_rows > 1 for each in batching), wrong, reason)


def _wrong_answers(
    folder: Path, partitions: list[Partition], batching: list[StageBatching], rows: list[Floats]
) -> int:
    """Returns how many outputs of stages differ between a batch and the run alone, bit by bit."""
    given = [{"x": from_array("x", row)} for row in rows]
    live = [dict(feeds) for feeds in given]
    wrong = 0
    for partition, rule in zip(partitions, batching, strict=True):
        session = StageSession(folder / f"stage-{partition.index}")
        before = [has | direct_feeds(partition, feeds) for has, feeds in zip(live, given, strict=True)]
        alone = [{name: to_array(t).copy() for name, t in session.run(feeds).items()} for feeds in before]
        for start in range(0, len(before), max(1, rule.max_rows)) if rule.max_rows > 1 else ():
            group = range(start, min(len(before), start + rule.max_rows))
            joined = {
                spec.name: before[start][spec.name]
                if spec.name in rule.shared
                else from_array(
                    spec.name, np.concatenate([to_array(before[number][spec.name]) for number in group])
                )
                for spec in partition.inputs
            }
            for name, tensor in session.run(joined).items():
                together = to_array(tensor)
                for number in group:
                    own = together if name in rule.shared else together[number - start : number - start + 1]
                    wrong += not np.array_equal(own, alone[number][name], equal_nan=own.dtype.kind == "f")
        live = [
            live_tensors(partition, has, {name: from_array(name, array) for name, array in answers.items()})
            for has, answers in zip(before, alone, strict=True)
        ]
    return wrong


def rows_meet_in_fact(built: BuiltGraph, seed: int) -> bool:
    """Whether a neighbour changes an answer of the whole model, beyond the last bits."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        built.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rows = requests(seed, 8)
    together = session.run(None, {"x": np.concatenate(rows)})
    for number, row in enumerate(rows):
        for one, other in zip(session.run(None, {"x": row}), together, strict=True):
            if not np.allclose(one, other[number : number + 1], rtol=1e-3, atol=1e-3, equal_nan=True):
                return True
    return False


def main() -> None:
    """Examines graphs and prints a line of progress, then the figures; ends with 1 where an answer is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--num", type=int, default=2000, help="number of graphs")
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    started = time.monotonic()
    for number in range(options.num):
        seed = options.first + number
        with tempfile.TemporaryDirectory() as folder:
            try:
                verdict = examine(seed, Path(folder), 1 + seed % 3)
            except MeshError as error:
                counts["refused"] += 1
                reasons[f"refused: {error.message[:100]}"] += 1
                continue
        kind = "mixed" if verdict.mixed else "row-wise"
        counts[kind] += 1
        counts[f"{kind}, proven"] += verdict.proven
        stages = f"{1 + seed % 3} stages" if seed % 3 else "1 stage"
        counts[f"{kind}, {stages}"] += 1
        counts[f"{kind}, {stages}, batched"] += verdict.batched
        counts["wrong answers"] += verdict.wrong
        if verdict.wrong:
            print(f"\nseed {seed}: {verdict.wrong} wrong answers")
        if not verdict.mixed and not (verdict.proven and verdict.batched):
            reasons[re.sub(r"'[^']*'|[0-9.e-]+", "…", verdict.reason)] += 1
        if verdict.mixed and verdict.proven:
            print(f"\nseed {seed}: rows are mixed, and proven to be independent")
        if sys.stderr.isatty() or number % 100 == 99:
            elapsed = time.monotonic() - started
            print(f"\r{number + 1} of {options.num} graphs, {elapsed:.0f} s: {dict(counts)}", file=sys.stderr)
    for name, count in sorted(counts.items()):
        print(f"{name}: {count:,}")
    print(f"proven of the row-wise: {counts['row-wise, proven'] / max(1, counts['row-wise']):.1%}")
    for stages in ("1 stage", "2 stages", "3 stages"):
        share = counts[f"row-wise, {stages}, batched"] / max(1, counts[f"row-wise, {stages}"])
        print(f"batched in {stages}, where each boundary must have its rows at axis 0: {share:.1%}")
    for reason, count in reasons.most_common(12):
        print(f"  {count:4} times: {reason}")
    sys.exit(bool(counts["wrong answers"] or counts["mixed, proven"]))


if __name__ == "__main__":
    main()
