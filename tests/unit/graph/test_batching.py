"""Which models may run requests together: what their signatures say, and what a run of rows and batches says."""

from __future__ import annotations

import json

import pytest

from onnxmesh.device.device_kind import this_cpu_class
from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.graph.checks.batch_axis import batch_axis_obstacle
from onnxmesh.graph.checks.batching_check import MAX_SPLIT_ROWS
from onnxmesh.graph.runtime.partition_chain import direct_feeds, live_tensors
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.batching import ANY_ROWS, BatchingSpec, BatchMode, StageBatching
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS, Partition
from onnxmesh.model.signature import Signature
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.rows import concat_rows, split_rows
from tests.zoo import ZOO


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


def signature(inputs, outputs=(("y", "FP32", (-1, 4)),)):
    return Signature(
        tuple(TensorSpec(*each) for each in inputs), tuple(TensorSpec(*each) for each in outputs)
    )


@pytest.mark.parametrize(
    ("inputs", "dims", "words"),
    [
        ([], {}, "the model has no inputs"),
        ([("x", "FP32", (1, 4))], {}, "the first dimension of input 'x' is not free"),
        ([("x", "FP32", ())], {}, "the first dimension of input 'x' is not free"),
        ([("x", "FP32", None)], {}, "the first dimension of input 'x' is not free"),
        ([("x", "BYTES", (-1,))], {}, "'x' is BYTES, which cannot be split into rows"),
        ([("x", "INT4", (-1, 4))], {}, "'x' is INT4, which cannot be split into rows"),
        (
            [("x", "FP32", (-1, 4)), ("m", "FP32", (-1,))],
            {"x": ("N", 4), "m": ("M",)},
            "the first dimensions of the inputs differ: M, N",
        ),
        (
            [("x", "FP32", (-1, -1))],
            {"x": ("N", "N")},
            "input 'x' has its first dimension at another axis too",
        ),
        ([("x", "FP32", (-1, 4)), ("m", "FP32", (-1,))], {"x": ("N", 4), "m": ("N",)}, ""),
        ([("x", "FP32", (-1, 4)), ("m", "FP32", (-1,))], {"x": ("N", 4), "m": (None,)}, ""),
        ([("x", "FP32", (-1, -1))], {"x": (None, None)}, ""),
    ],
)
def test_a_signature_says_what_cannot_be_a_batch(inputs, dims, words):
    """A free first dimension, the same for all inputs and nowhere else, may be one."""
    assert batch_axis_obstacle(signature(inputs), dims) == words


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
def test_requests_that_may_run_together_give_the_bits_that_they_give_alone(name, tmp_path):
    """Stage by stage, in batches of requests with one row and with several, of other numbers than the check tried."""
    model = ZOO[name]
    partitions, found = cut(model.build(tmp_path), tmp_path / "work")
    assert len(found) == len(partitions)
    requests = [model.tensors(seed, rows) for seed, rows in ((101, 1), (102, 3), (103, 1), (104, 2))]
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
def test_models_whose_first_dimension_is_no_batch_are_found_out(name, tmp_path):
    """By their signature, or because a run of two rows is not two runs of one; they say why."""
    _, found = cut(ZOO[name].build(tmp_path), tmp_path / "work", mode="on")
    assert any(ALONE[name] in batching.why_not for batching in found)
    assert all(batching.max_rows == 1 for batching in found if batching.why_not)


def test_in_exact_mode_other_bits_are_a_matter_of_wish(tmp_path):
    """A model whose matrix products give other last bits for more rows: alone at first, together where that is asked for."""
    partitions, found = cut(ZOO["decoder"].build(tmp_path), tmp_path / "auto")
    assert [batching.max_rows for batching in found] == [1] * len(partitions)
    assert all("differs from single runs by" in batching.why_not for batching in found)
    _, found = cut(ZOO["decoder"].build(tmp_path), tmp_path / "on", mode="on")
    assert all(batching.max_rows > 1 and batching.cpu_class == "" for batching in found)
    assert 0 < max(batching.largest_difference for batching in found) < 1e-5
    assert "total" in found[0].shared


def test_portable_mode_accepts_in_batches_what_it_accepts_anyway(tmp_path):
    """Its answers differ in last bits from machine to machine."""
    _, found = cut(ZOO["decoder"].build(tmp_path), tmp_path / "work", cut_mode=CutMode.PORTABLE)
    assert all(batching.max_rows > 1 for batching in found)


@pytest.mark.parametrize(("mode", "max_rows"), [("off", 0), ("off", 8), ("auto", 1), ("on", 1)])
def test_what_is_off_is_not_tried(mode, max_rows, tmp_path):
    """One row at the most is off, too."""
    _, found = cut(ZOO["mlp"].build(tmp_path), tmp_path / "work", mode=mode, max_rows=max_rows)
    assert {(batching.max_rows, batching.why_not) for batching in found} == {(1, "switched off")}


def test_the_most_rows_are_those_asked_for(tmp_path):
    """And never fewer than two where there is a batch."""
    for asked in (2, 5):
        _, found = cut(ZOO["mlp"].build(tmp_path), tmp_path / f"work-{asked}", max_rows=asked)
        assert [batching.max_rows for batching in found] == [asked, asked]


def test_a_cut_that_nobody_asks_about_batches_says_nothing_of_them(tmp_path):
    """As `onnxmesh split` does."""
    source, work = ZOO["mlp"].build(tmp_path), tmp_path / "work"
    prepare(PrepareJob(source, work, PrepareOptions(OptimisationLevel.NONE)))
    assert json.loads(cut_prepared(CutJob(work, CutOptions())))["batching"] == []


def test_what_was_found_survives_its_journey():
    """Through JSON and back."""
    found = StageBatching(8, ("a", "b"), 1e-7, "class", "because", 64)
    assert StageBatching.from_plain(json.loads(json.dumps(found.to_plain()))) == found


def test_more_rows_than_run_together_may_be_run_in_pieces(tmp_path):
    """As many as were compared; of a single stage none are, for nothing would overlap."""
    _, found = cut(ZOO["mlp"].build(tmp_path), tmp_path / "two", max_rows=5)
    assert [(batching.max_rows, batching.max_split_rows) for batching in found] == [(5, MAX_SPLIT_ROWS)] * 2
    _, found = cut(ZOO["mlp"].build(tmp_path), tmp_path / "one", max_rows=5, num_stages=1)
    assert [batching.max_split_rows for batching in found] == [5]
    _, found = cut(ZOO["decoder"].build(tmp_path), tmp_path / "auto")
    assert {batching.max_split_rows for batching in found} == {0}
    _, found = cut(ZOO["decoder"].build(tmp_path), tmp_path / "on", mode="on")
    assert {batching.max_split_rows for batching in found} == {ANY_ROWS}
