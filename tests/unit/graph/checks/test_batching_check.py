"""The batching check on models whose answer is known."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from onnxmesh.device.device_kind import this_cpu_class
from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.graph.checks.batching_check import MAX_SPLIT_ROWS, check_batching
from onnxmesh.graph.costs.graph_analysis import analyse_graph, boundary_types
from onnxmesh.graph.reading.optimise import OPTIMISED
from onnxmesh.graph.runtime.partition_chain import direct_feeds, live_tensors
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.batching import ANY_ROWS, BatchingSpec, BatchMode, StageBatching
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS, Partition
from onnxmesh.tensors.rows import concat_rows, split_rows
from tests.zoo import ZOO
from tests.zoo.zoo_model import floats, model, node


def cut(source, work, *, mode="auto", max_rows=0, cut_mode=CutMode.EXACT, level="all", num_stages=2):
    options = PrepareOptions(OptimisationLevel(level), cut_mode)
    costs = GraphCosts.from_json(json.loads(prepare(PrepareJob(source, work, options)))["costs"])
    legal = costs.legal_cuts
    cuts = [legal[len(legal) * part // num_stages] for part in range(1, num_stages)] if legal else []
    spec = BatchingSpec(BatchMode(mode), max_rows)
    answer = json.loads(cut_prepared(CutJob(work, CutOptions(tuple(sorted(set(cuts))), batching=spec))))
    return (
        [Partition.from_plain(plain) for plain in answer["partitions"]],
        [StageBatching.from_plain(plain) for plain in answer["batching"]],
    )


TOGETHER = ["mlp", "branching_cnn", "tied_weights", "qdq_cnn", "functions", "shared_layers", "identity"]

ALONE = {
    "strings": "'words' is BYTES",
    "late_input": "the first dimension of input 'always' is not free",
    "pass_through": "the first dimensions of the inputs differ: M, N",
    "if_loop": "'is_positive' has neither one row for each row of the batch nor the same value for all",
    "scan": "has neither one row for each row of the batch nor the same value for all",
    "sequence_loop": "has neither one row for each row of the batch nor the same value for all",
}


@pytest.mark.parametrize("name", TOGETHER)
def test_batches_have_the_bits_of_single_runs(name, tmp_path):
    """Stage by stage, in batches of requests with one row and with several, of other numbers than the check tried."""
    zoo_model = ZOO[name]
    partitions, found = cut(zoo_model.build(tmp_path), tmp_path / "work")
    assert len(found) == len(partitions)
    requests = [zoo_model.tensors(seed, rows) for seed, rows in ((101, 1), (102, 3), (103, 1), (104, 2))]
    alive = [dict(request) for request in requests]
    for partition, batching in zip(partitions, found, strict=True):
        assert batching.max_rows >= 7
        assert (batching.largest_difference, batching.why_not) == (0.0, "")
        assert batching.cpu_class == this_cpu_class()
        session = StageSession(tmp_path / "work" / PARTITIONS / f"stage-{partition.index}")
        before = [has | direct_feeds(partition, gets) for has, gets in zip(alive, requests, strict=True)]
        alone = [session.run(each) for each in before]
        assert not batching.shared
        names = [spec.name for spec in partition.inputs]
        together = session.run({name: concat_rows([each[name] for each in before]) for name in names})
        for output, tensor in together.items():
            pieces = split_rows(tensor, [1, 3, 1, 2])
            for piece, answer in zip(pieces, alone, strict=True):
                assert piece.shape == answer[output].shape
                assert bytes(piece.data) == bytes(answer[output].data), output
        alive = [live_tensors(partition, *each) for each in zip(before, alone, strict=True)]


@pytest.mark.parametrize("name", ALONE)
def test_check_finds_first_dimensions_that_are_no_batch(name, tmp_path):
    """By their signature, or because a run of two rows is not two runs of one; they say why."""
    _, found = cut(ZOO[name].build(tmp_path), tmp_path / "work", mode="on")
    assert any(ALONE[name] in batching.why_not for batching in found)
    assert all(batching.max_rows == 1 for batching in found if batching.why_not)


def test_check_in_exact_mode_accepts_a_difference_only_if_on(tmp_path):
    """A model whose matrix products give other last bits for more rows: checked alone at first, together where that is requested."""
    partitions, found = cut(ZOO["decoder"].build(tmp_path), tmp_path / "auto")
    assert [batching.max_rows for batching in found] == [1] * len(partitions)
    assert all("differs from single runs by" in batching.why_not for batching in found)
    _, found = cut(ZOO["decoder"].build(tmp_path), tmp_path / "on", mode="on")
    assert all(batching.max_rows > 1 and batching.cpu_class == "" for batching in found)
    assert 0 < max(batching.largest_difference for batching in found) < 1e-5
    assert "total" in found[0].shared


def test_check_in_portable_mode_accepts_its_difference(tmp_path):
    """Its answers differ in last bits from machine to machine."""
    _, found = cut(ZOO["decoder"].build(tmp_path), tmp_path / "work", cut_mode=CutMode.PORTABLE)
    assert all(batching.max_rows > 1 for batching in found)


@pytest.mark.parametrize(("mode", "max_rows"), [("off", 0), ("off", 8), ("auto", 1), ("on", 1)])
def test_check_runs_nothing_if_off(mode, max_rows, tmp_path):
    """One row at the most is off, too."""
    _, found = cut(ZOO["mlp"].build(tmp_path), tmp_path / "work", mode=mode, max_rows=max_rows)
    assert {(batching.max_rows, batching.why_not) for batching in found} == {(1, "switched off")}


def test_check_respects_the_requested_rows(tmp_path):
    """And never fewer than two where there is a batch."""
    for max_rows in (2, 5):
        _, found = cut(ZOO["mlp"].build(tmp_path), tmp_path / f"work-{max_rows}", max_rows=max_rows)
        assert [batching.max_rows for batching in found] == [max_rows, max_rows]


def test_check_is_made_on_request_only(tmp_path):
    """As `onnxmesh split` does."""
    source, work = ZOO["mlp"].build(tmp_path), tmp_path / "work"
    prepare(PrepareJob(source, work, PrepareOptions(OptimisationLevel.NONE)))
    assert json.loads(cut_prepared(CutJob(work, CutOptions())))["batching"] == []


def test_check_finds_more_rows_for_split_requests(tmp_path):
    """As many as were compared; of a single stage none are, for nothing would overlap."""
    _, found = cut(ZOO["mlp"].build(tmp_path), tmp_path / "two", max_rows=5)
    assert [(batching.max_rows, batching.max_split_rows) for batching in found] == [(5, MAX_SPLIT_ROWS)] * 2
    _, found = cut(ZOO["mlp"].build(tmp_path), tmp_path / "one", max_rows=5, num_stages=1)
    assert [batching.max_split_rows for batching in found] == [5]
    _, found = cut(ZOO["decoder"].build(tmp_path), tmp_path / "auto")
    assert {batching.max_split_rows for batching in found} == {0}
    _, found = cut(ZOO["decoder"].build(tmp_path), tmp_path / "on", mode="on")
    assert {batching.max_split_rows for batching in found} == {ANY_ROWS}


MIXING = {
    "gate": ([node("ReduceMax", ["x"], ["m"], name="largest", keepdims=0), node("Greater", ["m", "limit"], ["p"], name="over"),
              node("Where", ["p", "small", "one"], ["k"]), node("Mul", ["x", "k"], ["y"])], "ReduceMax 'largest' (its output feeds Greater 'over')"),
    "scale": ([node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="scale"), node("DequantizeLinear", ["q", "s", "z"], ["d"]),
               node("Round", ["d"], ["y"])], "DynamicQuantizeLinear 'scale'"),
    "count": ([node("Shape", ["x"], ["s"], end=1), node("Cast", ["s"], ["n"], to=1), node("Min", ["n", "one"], ["k"]),
               node("Mul", ["x", "k"], ["y"], name="times")], "Mul 'times'"),
}  # fmt: skip
"""Models in which rows meet for some values only, or whose discrete outputs hide that they do."""


def mixing(name, tmp_path):
    weights = {"limit": np.float32(16), "small": np.float32(1 / 255), "one": np.float32(1)}
    path = tmp_path / "m.onnx"
    nodes, reason = MIXING[name]
    path.write_bytes(model(nodes, [floats("x", "N", 4)], [floats("y", "N", 4)], weights).SerializeToString())
    return path, reason


@pytest.mark.parametrize("num_stages", [1, 2, 3])
@pytest.mark.parametrize("cut_mode", CutMode)
@pytest.mark.parametrize("name", MIXING)
def test_check_never_batches_where_rows_meet(name, cut_mode, num_stages, tmp_path):
    """Wherever the model is cut, no request is split, and the reason names the node."""
    path, reason = mixing(name, tmp_path)
    _, found = cut(path, tmp_path / "work", cut_mode=cut_mode, num_stages=num_stages)
    assert any(reason in batching.why_not for batching in found) or "number of rows" in found[0].why_not
    assert min(batching.max_split_rows for batching in found) == 0
    assert all(batching.max_rows == 1 for batching in found if batching.why_not)


def test_check_runs_rows_that_show_a_gate(tmp_path):
    """By `on` the runs alone decide: extreme rows beside tame ones show what random rows do not."""
    path, _ = mixing("gate", tmp_path)
    _, found = cut(path, tmp_path / "work", mode="on", num_stages=1)
    assert [batching.max_rows for batching in found] == [1]
    assert "differs from single runs by" in found[0].why_not


def test_check_by_on_says_what_is_not_proven(tmp_path):
    """An operator without a rule: alone by `auto`, together by `on`, which keeps the reason."""
    nodes = [node("SequenceConstruct", ["x"], ["s"], name="list"), node("SequenceAt", ["s", "zero"], ["y"])]
    path = tmp_path / "m.onnx"
    made = model(nodes, [floats("x", "N", 4)], [floats("y", "N", 4)], {"zero": np.array(0)})
    path.write_bytes(made.SerializeToString())
    _, (alone,) = cut(path, tmp_path / "auto", num_stages=1)
    assert (alone.max_rows, alone.not_proven) == (1, "")
    assert "no rule for the operator SequenceConstruct" in alone.why_not
    _, (together,) = cut(path, tmp_path / "on", mode="on", num_stages=1)
    assert (together.max_rows > 1, together.why_not) == (True, "")
    assert together.not_proven == alone.why_not


def check_by(clock, tmp_path):
    """Returns the finding for the MLP in two stages by a clock."""
    partitions, _ = cut(ZOO["mlp"].build(tmp_path), tmp_path / "work", mode="off")
    graph = tmp_path / "work" / "optimised" / OPTIMISED
    types = boundary_types(graph)
    return check_batching(
        graph,
        tmp_path / "work" / PARTITIONS,
        partitions,
        CutMode.EXACT,
        BatchingSpec(),
        costs=analyse_graph(graph, InputShapes(), types),
        types=types,
        shapes=InputShapes(),
        accepted=0.0,
        clock=clock,
    )


def test_check_ends_by_the_clock(tmp_path):
    """What was not checked in time is not batched, and says so."""
    ticks = itertools.count()
    found = check_by(lambda: float(next(ticks)), tmp_path)
    assert {(batching.max_rows, batching.max_split_rows) for batching in found} == {(1, 0)}
    assert found[-1].why_not == "not checked within 4 s"
    found = check_by(lambda: 0.0, tmp_path)
    assert all(batching.max_rows > 1 for batching in found)


def test_check_keeps_the_sizes_that_were_checked_in_time(tmp_path):
    """A slow machine finds smaller batches, none of them unchecked."""
    ticks = itertools.count()
    found = check_by(lambda: next(ticks) * 0.03, tmp_path)
    assert all(2 <= batching.max_rows < 32 for batching in found)
