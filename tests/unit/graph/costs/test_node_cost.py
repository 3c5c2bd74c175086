"""Costs of nodes, computed by hand."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from onnxmesh.graph.costs.graph_analysis import analyse_graph
from onnxmesh.graph.cutting.original_model import save_original_model
from onnxmesh.graph.reading.normalised_source import normalised_source
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.model.graph_costs import GraphCosts, NodeCost
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo import ZOO


def costs_of(tmp_path, made, level=OptimisationLevel.NONE, shapes=None, **options) -> GraphCosts:
    onnx.save(made, tmp_path / "m.onnx")
    return analyse_graph(optimise(tmp_path / "m.onnx", tmp_path / "out", level), shapes, **options)


def test_cost_of_a_loop_counts_its_iterations(tmp_path):
    """The zoo's: 3 iterations, each a 6 x 6 product of one row and more; a longer one costs more."""
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


@pytest.mark.parametrize("link", [Path.hardlink_to, Path.symlink_to])
def test_cost_of_a_loop_reads_its_iterations_through_links(tmp_path, link):
    """A trip count in a file that has another name too: onnx-ir refuses to read such a file."""
    made = ZOO["if_loop"].make()
    (tmp_path / "blob").write_bytes((30).to_bytes(8, "little"))
    link(tmp_path / "trips", tmp_path / "blob")
    expected = loop_of(tmp_path, made, 30)
    trips = next(tensor for tensor in made.graph.initializer if tensor.name == "trips")
    for field in ("int64_data", "raw_data"):
        trips.ClearField(field)
    trips.data_location = TensorProto.EXTERNAL
    trips.external_data.add(key="location", value="trips")
    onnx.save(made, tmp_path / "m.onnx")
    source = normalised_source(tmp_path / "m.onnx", tmp_path / "copy")
    costs = analyse_graph(save_original_model(source, tmp_path / "original"))
    assert next(found.flops for found in costs.nodes if found.op_type == "Loop") == expected.flops


def test_cost_of_a_scan_counts_its_sequence(tmp_path):
    """Twice as long costs about twice as much."""
    made = ZOO["scan"].make()
    short, long = (
        next(n for n in costs_of(tmp_path, made, shapes=InputShapes(size)).nodes if n.op_type == "Scan")
        for size in (10, 20)
    )
    assert 1.8 * short.flops < long.flops < 2.2 * short.flops


@pytest.mark.parametrize(
    "name", ["mlp", "branching_cnn", "tied_weights", "magika", "if_loop", "scan", "quantised"]
)
def test_costs_do_not_fall_with_the_batch(tmp_path, name):
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
