"""Portable mode: the source model, cut without optimisation."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxmesh.errors import CorruptData, InvalidModel
from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.graph.checks.difference import (
    FULL_PRECISION_BOUND,
    LEAST_PRECISION_BOUND,
    REDUCED_PRECISION_BOUND,
    compare_tensors,
)
from onnxmesh.graph.checks.verify import verify_chain
from onnxmesh.graph.costs.graph_analysis import analyse_graph
from onnxmesh.graph.cutting.original_model import save_original_model
from onnxmesh.graph.cutting.plan_file import PLAN_FILE, PlanFile
from onnxmesh.graph.runtime.partition_chain import PartitionChain
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.graph.split import split_model
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS
from onnxmesh.tensors.arrays import from_array
from tests.zoo import ZOO
from tests.zoo.zoo_model import constant, floats, model, node, random_floats

CASES = [(name, stages) for name in sorted(ZOO) for stages in (2, 3) if stages <= ZOO[name].max_stages]


def worst_difference(expected, found) -> float:
    return max(compare_tensors(tensor, found[name]).largest_relative for name, tensor in expected.items())


def saved(folder, made) -> str:
    onnx.save(made, folder / "m.onnx")
    return folder / "m.onnx"


@pytest.mark.parametrize(("name", "stages"), CASES)
def test_portable_zoo_stays_within_the_accepted_difference(tmp_path, name, stages):
    """Cut in portable mode, every model of the zoo answers as the whole at level all, but for last bits."""
    path = ZOO[name].build(tmp_path)
    plan, _ = split_model(path, tmp_path / "out", stages, mode=CutMode.PORTABLE)
    assert len(plan.partitions) == stages
    assert plan.mode is CutMode.PORTABLE
    if ZOO[name].random:
        assert plan.largest_difference is not None
        assert 0 <= plan.largest_difference <= plan.accepted_difference
    feeds = ZOO[name].tensors(1)
    expected = StageSession(path, level=OptimisationLevel.ALL).run(feeds)
    found = PartitionChain(tmp_path / "out", plan.partitions, level=plan.mode.load_level).run(feeds)
    assert worst_difference(expected, found) <= plan.accepted_difference


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("branching_cnn", FULL_PRECISION_BOUND),
        ("tied_weights", FULL_PRECISION_BOUND),
        ("strings", FULL_PRECISION_BOUND),
        ("half_precision", REDUCED_PRECISION_BOUND),
        ("qlinear", REDUCED_PRECISION_BOUND),
        ("quantised", LEAST_PRECISION_BOUND),
    ],
)
def test_accepted_difference_follows_from_computed_types(tmp_path, name, bound):
    """Fewer bits, larger steps; inputs and ids do not count."""
    plan, _ = split_model(ZOO[name].build(tmp_path), tmp_path / "out", 1, mode=CutMode.PORTABLE)
    assert plan.accepted_difference == bound


def test_original_model_has_no_fused_operators_or_casts(tmp_path):
    """The operators of the partitions are those of the source, function bodies in place of calls."""
    for name in ("branching_cnn", "encoder", "half_precision"):
        path = ZOO[name].build(tmp_path)
        split_model(path, tmp_path / name, 2, mode=CutMode.PORTABLE)
        kinds = [
            made.op_type
            for number in range(2)
            for made in onnx.load(tmp_path / name / f"stage-{number}" / "model.onnx").graph.node
        ]
        assert sorted(kinds) == sorted(made.op_type for made in onnx.load(path).graph.node)


def test_portable_partitions_name_their_mode(tmp_path):
    """Mode and levels are in plan.json, the mode in each partition's metadata."""
    plan, _ = split_model(ZOO["mlp"].build(tmp_path), tmp_path / "out", 2, mode=CutMode.PORTABLE)
    plain = json.loads((tmp_path / "out" / PLAN_FILE).read_text())
    assert (plain["mode"], plain["optimisation"], plain["load_optimisation"]) == ("portable", "none", "all")
    assert plain["largest_difference"] == plan.largest_difference
    metadata = onnx.load(tmp_path / "out" / "stage-1" / "model.onnx").metadata_props
    assert {entry.key: entry.value for entry in metadata}["onnxmesh.mode"] == "portable"


def test_portable_digests_do_not_depend_on_level_or_folder(tmp_path):
    """The level is for exact cuts; the folder is not part of a digest."""
    path = ZOO["weights_beside"].build(tmp_path)
    first, _ = split_model(path, tmp_path / "a", 2, mode=CutMode.PORTABLE, level=OptimisationLevel.ALL)
    other, _ = split_model(
        path, tmp_path / "deep" / "b", 2, mode=CutMode.PORTABLE, level=OptimisationLevel.NONE
    )
    assert first == other


def test_verify_accepts_the_accepted_difference(tmp_path):
    """A portable chain need not be equal; one that differs too much is reported with its difference."""
    path = ZOO["encoder"].build(tmp_path)
    split_model(path, tmp_path / "out", 2, mode=CutMode.PORTABLE)
    report = verify_chain(tmp_path / "out", path, seeds=[5])
    assert (report.mode, report.level) == (CutMode.PORTABLE, OptimisationLevel.ALL)
    assert 0 < report.largest_relative <= report.accepted_difference == FULL_PRECISION_BOUND


def test_portable_cut_of_a_model_that_refuses_random_inputs(tmp_path):
    """Its difference is unknown, and the plan and the answer say that."""
    path = ZOO["strings_and_bfloat"].build(tmp_path)
    work = tmp_path / "work"
    prepare(PrepareJob(path, work, PrepareOptions(OptimisationLevel.ALL, CutMode.PORTABLE)))
    assert json.loads(cut_prepared(CutJob(work, CutOptions((1,)))))["largest_difference"] == -1
    assert PlanFile.load(tmp_path / "work" / PARTITIONS).largest_difference is None


def test_portable_cut_without_measuring(tmp_path):
    """Running a large model takes a while; the partitions are the same, and `verify_chain` measures the difference later."""
    path = ZOO["mlp"].build(tmp_path)
    measured, _ = split_model(path, tmp_path / "a", 2, mode=CutMode.PORTABLE)
    unmeasured, _ = split_model(path, tmp_path / "b", 2, mode=CutMode.PORTABLE, measure=False)
    assert unmeasured.largest_difference is None
    assert unmeasured.partitions == measured.partitions
    assert verify_chain(tmp_path / "b", path).largest_relative <= unmeasured.accepted_difference


@pytest.mark.parametrize("figure", [None, 0.0, 1e-7, float("inf")])
def test_plan_file_keeps_the_difference(tmp_path, figure):
    """Unknown, none, some, and one that is no number; all of it JSON that any reader takes."""
    plan, _ = split_model(ZOO["mlp"].build(tmp_path), tmp_path / "out", 1, mode=CutMode.PORTABLE)
    replace(plan, largest_difference=figure).save(tmp_path / "out")
    assert PlanFile.load(tmp_path / "out").largest_difference == figure
    assert "Infinity" not in (tmp_path / "out" / PLAN_FILE).read_text()
    text = (tmp_path / "out" / PLAN_FILE).read_text().replace('"portable"', '"movable"')
    (tmp_path / "out" / PLAN_FILE).write_text(text)
    with pytest.raises(CorruptData, match="'movable' is not a valid CutMode"):
        PlanFile.load(tmp_path / "out")


def test_original_model_inlines_functions_of_another_opset(tmp_path):
    """A function brings the opset that it was written for."""
    squash = helper.make_function(
        "zoo.local",
        "Squash",
        ["a"],
        ["b"],
        [node("Exp", ["a"], ["c"]), node("Sigmoid", ["c"], ["b"])],
        [helper.make_opsetid("", 13)],
    )
    nodes = [
        node("Tanh", ["x"], ["h"]),
        node("Squash", ["h"], ["t"], domain="zoo.local"),
        node("Neg", ["t"], ["y"]),
    ]
    made = model(
        nodes,
        [floats("x", "N", 4)],
        [floats("y", "N", 1)],
        opsets={"": 17, "zoo.local": 1},
        functions=[squash],
    )
    path = saved(tmp_path, made)
    feeds = {"x": from_array("x", random_floats("x", 4)(1, 3)["x"])}
    expected = StageSession(path, level=OptimisationLevel.ALL).run(feeds)
    plan, _ = split_model(path, tmp_path / "out", 2, mode=CutMode.PORTABLE)
    assert not onnx.load(tmp_path / "out" / "stage-0" / "model.onnx").functions
    found = PartitionChain(tmp_path / "out", plan.partitions, level=OptimisationLevel.ALL).run(feeds)
    assert worst_difference(expected, found) <= FULL_PRECISION_BOUND


def test_original_model_lifts_constants(tmp_path):
    """Constant nodes, sparse ones too, and the initialisers of subgraphs: what is read is counted, and once."""
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("values", TensorProto.FLOAT, [2], [1.0, -1.0]),
        helper.make_tensor("at", TensorProto.INT64, [2], [0, 3]),
        [4],
    )
    branch = helper.make_graph(
        [node("Add", ["shifted", "inner"], ["then_out"])],
        "then",
        [],
        [floats("then_out", "N", 4)],
        [constant(np.full(4, 2, np.float32), "inner")],
    )
    other = helper.make_graph(
        [node("Neg", ["shifted"], ["else_out"])], "else", [], [floats("else_out", "N", 4)]
    )
    nodes = [
        node("Constant", [], ["spread"], sparse_value=sparse),
        node("Constant", [], ["factor"], value=constant(np.arange(4, dtype=np.float32))),
        node("Mul", ["x", "factor"], ["scaled"]),
        node("Add", ["scaled", "spread"], ["shifted"]),
        node("ReduceMax", ["shifted"], ["largest"], keepdims=0),
        node("Cast", ["largest"], ["big"], to=TensorProto.BOOL),
        node("If", ["big"], ["y"], then_branch=branch, else_branch=other),
    ]
    path = saved(tmp_path, model(nodes, [floats("x", "N", 4)], [floats("y", "N", 4)]))
    costs = analyse_graph(save_original_model(path, tmp_path / "work"))
    assert [made.op_type for made in costs.nodes] == ["Mul", "Add", "ReduceMax", "Cast", "If"]
    assert costs.weights == (16, 16, 16)
    assert len(costs.nodes[-1].weights) == 1
    feeds = {"x": from_array("x", np.ones((2, 4), np.float32))}
    plan, _ = split_model(path, tmp_path / "out", 3, mode=CutMode.PORTABLE)
    found = PartitionChain(tmp_path / "out", plan.partitions, level=OptimisationLevel.ALL).run(feeds)["y"]
    assert np.frombuffer(found.data, np.float32).tolist() == [3, 3, 4, 4] * 2


def test_original_model_removes_weight_inputs_of_old_models(tmp_path):
    """Before IR 4 they had to be listed; they are no inputs, and ONNX Runtime may fold them."""
    made = ZOO["mlp"].make()
    made.ir_version = 3
    made.opset_import[0].version = 9
    made.graph.node[-1].attribute[0].i = 1
    made.graph.input.extend(floats(tensor.name, *tensor.dims) for tensor in made.graph.initializer)
    path = saved(tmp_path, made)
    plan, _ = split_model(path, tmp_path / "out", 2, mode=CutMode.PORTABLE)
    assert [spec.name for spec in plan.signature.inputs] == ["x"]
    assert [value.name for value in onnx.load(tmp_path / "out" / "stage-0" / "model.onnx").graph.input] == [
        "x"
    ]
    assert verify_chain(tmp_path / "out", path).largest_relative <= FULL_PRECISION_BOUND


def test_original_model_writes_large_weights_to_a_file(tmp_path):
    """ResNet-50 has 100 MB in its model; what is cut has them beside it."""
    work = tmp_path / "work"
    written = save_original_model(ZOO["resnet50"].build(tmp_path), work)
    assert written.stat().st_size < 1_000_000
    assert (work / "optimised.weights").stat().st_size > 100_000_000


def test_portable_cut_names_a_missing_operator(tmp_path):
    """Also where only types are requested."""
    nodes = [node("Tanh", ["x"], ["a"]), node("Odd", ["a"], ["y"], domain="com.example", name="the_odd_one")]
    made = model(nodes, [floats("x", 1)], [floats("y", 1)], opsets={"": 20, "com.example": 1})
    with pytest.raises(
        InvalidModel, match=r"node 'the_odd_one' \(com.example.Odd\): this ONNX Runtime lacks the operator"
    ):
        split_model(saved(tmp_path, made), tmp_path / "out", 2, mode=CutMode.PORTABLE)
    assert not (tmp_path / "out").exists()
