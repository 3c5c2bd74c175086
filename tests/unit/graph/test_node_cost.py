"""Operations, bytes and memory of graphs that can be computed by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxmesh.graph.costs.graph_analysis import analyse_graph
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.model.graph_costs import GraphCosts, NodeCost
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo import ZOO
from tests.zoo.zoo_model import floats, integers, model, node, value

MICROSOFT = {"": 20, "com.microsoft": 1}


def costs_of(tmp_path, made, level=OptimisationLevel.NONE, shapes=None, **options) -> GraphCosts:
    onnx.save(made, tmp_path / "m.onnx")
    return analyse_graph(optimise(tmp_path / "m.onnx", tmp_path / "out", level), shapes, **options)


def first(tmp_path, nodes, inputs, outputs, weights=None, **options) -> NodeCost:
    """The costs of the first node of a graph."""
    return costs_of(tmp_path, model(nodes, inputs, outputs, weights, MICROSOFT), **options).nodes[0]


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


FLOPS = {
    "Gemm with a transposed left side": (
        [node("Gemm", ["x", "w"], ["y"], transA=1)],
        [floats("x", 5, 2)],
        [floats("y", 2, 3)],
        {"w": zeros(5, 3)},
        2 * 2 * 3 * 5,
    ),
    "ConvTranspose: each input element meets each filter": (
        [node("ConvTranspose", ["x", "w"], ["y"])],
        [floats("x", 1, 2, 4, 4)],
        [floats("y", 1, 3, 6, 6)],
        {"w": zeros(2, 3, 3, 3)},
        2 * (2 * 4 * 4) * (3 * 3 * 3),
    ),
    "pooling reads its window for each output": (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])],
        [floats("x", 1, 2, 4, 4)],
        [floats("y", 1, 2, 2, 2)],
        {},
        (2 * 2 * 2) * 4,
    ),
    "a reduction reads each element once": (
        [node("ReduceSum", ["x"], ["y"], keepdims=0)],
        [floats("x", 3, 4)],
        [floats("y")],
        {},
        12,
    ),
    "Einsum multiplies and adds over all its labels": (
        [node("Einsum", ["x", "w"], ["y"], equation="bij, jk -> bik")],
        [floats("x", 2, 3, 4)],
        [floats("y", 2, 3, 5)],
        {"w": zeros(4, 5)},
        2 * 2 * 3 * 4 * 5,
    ),
    "LSTM: four gates from input and state, each step": (
        [node("LSTM", ["x", "w", "r"], ["", "y"], hidden_size=4)],
        [floats("x", 7, 2, 3)],
        [floats("y", 1, 2, 4)],
        {"w": zeros(1, 16, 3), "r": zeros(1, 16, 4)},
        2 * 7 * 2 * 16 * (3 + 4),
    ),
    "attention: scores and mixture over past and present keys": (
        [node("MultiHeadAttention", ["x", "k", "v"], ["y"], num_heads=2, domain="com.microsoft")],
        [floats("x", 1, 3, 8), floats("k", 1, 5, 8), floats("v", 1, 5, 8)],
        [floats("y", 1, 3, 8)],
        {},
        4 * (2 * 3 * 5) * 4,
    ),
    "dense weights of four bits": (
        [
            node(
                "MatMulNBits",
                ["x", "w", "s"],
                ["y"],
                K=32,
                N=6,
                bits=4,
                block_size=32,
                domain="com.microsoft",
            )
        ],
        [floats("x", 2, 32)],
        [floats("y", 2, 6)],
        {"w": zeros(6, 1, 16, dtype=np.uint8), "s": zeros(6)},
        2 * 2 * 6 * 32,
    ),
    "a dynamically quantised product": (
        [node("DynamicQuantizeMatMul", ["x", "w", "s"], ["y"], domain="com.microsoft")],
        [floats("x", 2, 5)],
        [floats("y", 2, 3)],
        {"w": zeros(5, 3, dtype=np.uint8), "s": np.float32(0.1)},
        2 * 2 * 3 * 5,
    ),
}


@pytest.mark.parametrize("name", FLOPS)
def test_operations_follow_from_shapes(tmp_path, name):
    """A multiply-add is two."""
    nodes, inputs, outputs, weights, expected = FLOPS[name]
    assert first(tmp_path, nodes, inputs, outputs, weights).flops == expected


def test_attention_over_kept_keys_counts_them(tmp_path):
    """GroupQueryAttention of 1 token after 10: 4 heads x 11 keys x 16 wide, twice 2 operations."""
    heads, kept, width = 4, 10, 16
    attention = node(
        "GroupQueryAttention",
        ["q", "k", "v", "past_k", "past_v", "lengths", "total"],
        ["y", "present_k", "present_v"],
        num_heads=heads,
        kv_num_heads=2,
        domain="com.microsoft",
    )
    past = [1, 2, kept, width]
    inputs = [
        floats("q", 1, 1, heads * width),
        floats("k", 1, 1, 2 * width),
        floats("v", 1, 1, 2 * width),
        floats("past_k", *past),
        floats("past_v", *past),
        value("lengths", TensorProto.INT32, [1]),
        value("total", TensorProto.INT32, [1]),
    ]
    outputs = [
        floats("y", 1, 1, heads * width),
        floats("present_k", 1, 2, "T", width),
        floats("present_v", 1, 2, "T", width),
    ]
    assert first(tmp_path, [attention], inputs, outputs).flops == 4 * heads * (kept + 1) * width


def test_a_lookup_moves_what_it_looks_up(tmp_path):
    """Three rows of four numbers, read and written, and their indices: not the table of a thousand."""
    lookup = first(
        tmp_path,
        [node("Gather", ["table", "ids"], ["y"])],
        [integers("ids", 3)],
        [floats("y", 3, 4)],
        {"table": zeros(1000, 4)},
    )
    assert lookup.bytes_moved == 2 * (3 * 4 * 4) + 3 * 8
    assert lookup.flops == 0


def test_another_shape_of_the_same_tensor_moves_nothing(tmp_path):
    """Reshape gives its input on."""
    reshaped = first(
        tmp_path,
        [node("Reshape", ["x", "shape"], ["y"])],
        [floats("x", 6, 4)],
        [floats("y", 24)],
        {"shape": np.array([24])},
    )
    assert reshaped.bytes_moved == 0


def test_a_loop_costs_its_body_as_often_as_it_runs(tmp_path):
    """The zoo's: 3 turns, each a 6 x 6 product of one row and more; a longer one costs more."""
    made = ZOO["if_loop"].make()
    of = {count: loop_of(tmp_path, made, count) for count in (3, 30)}
    assert of[3].flops >= 3 * 2 * 6 * 6
    assert of[30].flops > 9 * of[3].flops
    assert of[30].bytes_moved > 5 * of[3].bytes_moved


def loop_of(tmp_path, made, count) -> NodeCost:
    for tensor in made.graph.initializer:
        if tensor.name == "trips":
            tensor.CopyFrom(helper.make_tensor("trips", TensorProto.INT64, [], [count]))
    nodes = costs_of(tmp_path, made).nodes
    return next(found for found in nodes if found.op_type == "Loop")


def test_a_scan_runs_over_its_sequence(tmp_path):
    """Twice as long costs about twice as much."""
    made = ZOO["scan"].make()
    short, long = (
        next(n for n in costs_of(tmp_path, made, shapes=InputShapes(size)).nodes if n.op_type == "Scan")
        for size in (10, 20)
    )
    assert 1.8 * short.flops < long.flops < 2.2 * short.flops


def test_memory_is_what_is_alive_and_written(tmp_path):
    """While `late` is carried past a small node, it counts there too; the arena takes two fifths more."""
    made = model(
        [
            node("Relu", ["x"], ["late"]),
            node("ReduceMax", ["x"], ["small"], keepdims=0),
            node("Neg", ["small"], ["negative"]),
            node("Add", ["late", "negative"], ["y"]),
        ],
        [floats("x", 1000)],
        [floats("y", 1000)],
    )
    figures = [found.working_bytes for found in costs_of(tmp_path, made).nodes]
    assert figures == [size * 7 // 5 for size in (8000, 8004, 4008, 8004)]


def test_packing_a_weight_takes_it_twice(tmp_path):
    """A matrix product packs its weight when it is loaded; a lookup leaves its table as it is."""
    product = costs_of(
        tmp_path,
        model(
            [node("MatMul", ["x", "w"], ["y"])],
            [floats("x", 1, 100)],
            [floats("y", 1, 50)],
            {"w": zeros(100, 50)},
        ),
    )
    assert product.nodes[0].working_bytes == 100 * 50 * 4
    assert product.peak_bytes(0, 1) == 2 * 100 * 50 * 4
    lookup = costs_of(
        tmp_path,
        model(
            [node("Gather", ["w", "x"], ["y"])],
            [integers("x", 1)],
            [floats("y", 1, 50)],
            {"w": zeros(100, 50)},
        ),
    )
    assert lookup.nodes[0].working_bytes == (8 + 200) * 7 // 5


def test_a_convolution_unfolds_its_picture(tmp_path):
    """More filters than pixels: all of it, in and out besides. A window of one pixel needs none."""
    wide = first(
        tmp_path,
        [node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        [floats("x", 1, 8, 4, 4)],
        [floats("y", 1, 32, 4, 4)],
        {"w": zeros(32, 8, 3, 3)},
    )
    values = 4 * (8 * 16 + 32 * 16)
    unfolded = 4 * (8 * 9) * 16
    assert wide.working_bytes == max((values + unfolded) * 7 // 5, 4 * 32 * 8 * 9)
    assert wide.bytes_moved == values + 4 * 32 * 8 * 9 + 2 * unfolded
    flat = first(
        tmp_path,
        [node("Conv", ["x", "w"], ["y"])],
        [floats("x", 1, 8, 4, 4)],
        [floats("y", 1, 32, 4, 4)],
        {"w": zeros(32, 8, 1, 1)},
    )
    assert flat.working_bytes == values * 7 // 5


@pytest.mark.parametrize(
    "name", ["mlp", "branching_cnn", "tied_weights", "magika", "if_loop", "scan", "quantised"]
)
def test_nothing_gets_cheaper_in_a_larger_batch(tmp_path, name):
    """Of every node: operations, bytes, memory; of every boundary and input: bytes."""
    path = optimise(ZOO[name].build(tmp_path), tmp_path / "out", OptimisationLevel.EXTENDED)
    one, eight = analyse_graph(path, InputShapes(1)), analyse_graph(path, InputShapes(8))
    for small, large in zip(one.nodes, eight.nodes, strict=True):
        assert large.flops >= small.flops
        assert large.bytes_moved >= small.bytes_moved
        assert large.working_bytes >= small.working_bytes
    for small, large in zip(one.boundaries, eight.boundaries, strict=True):
        assert large.num_bytes >= small.num_bytes
    assert all(
        large.num_bytes >= 8 * small.num_bytes for small, large in zip(one.inputs, eight.inputs, strict=True)
    )
    assert sum(found.flops for found in eight.nodes) > 4 * sum(found.flops for found in one.nodes)


def test_shapes_seen_in_a_run_are_taken(tmp_path):
    """How many elements are not zero only the data tell."""
    made = model(
        [node("NonZero", ["x"], ["where"]), node("Cast", ["where"], ["y"], to=TensorProto.FLOAT)],
        [floats("x", 100)],
        [floats("y", 1, "K")],
    )
    unknown = costs_of(tmp_path, made)
    assert unknown.boundaries[0].num_bytes == 8
    seen = costs_of(tmp_path, made, measured_shapes={"where": (1, 100), "y": (1, 100)})
    assert seen.boundaries[0].num_bytes == 800
