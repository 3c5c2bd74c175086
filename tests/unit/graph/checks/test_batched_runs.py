"""Comparison of batched runs with single runs."""

from __future__ import annotations

import numpy as np

from onnxmesh.graph.checks.batched_runs import compare_batched_runs
from onnxmesh.graph.split import split_model
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.tensors.arrays import from_array
from tests.zoo.zoo_model import floats, model, node


def found(tmp_path, nodes, accepted=0.0):
    """Compares batches of up to three rows of a model in one stage."""
    path = tmp_path / "m.onnx"
    path.write_bytes(model(nodes, [floats("x", "N", 2)], [floats("y", "N", 2)]).SerializeToString())
    plan, _ = split_model(path, tmp_path / "out", 1)
    rows = [{"x": from_array("x", np.array([[number, 1.0]], np.float32))} for number in range(1, 4)]
    (stage,) = compare_batched_runs(tmp_path / "out", plan.partitions, CutMode.EXACT, [rows], accepted)
    return stage


def test_batches_of_independent_rows_match_single_runs(tmp_path):
    """An element-wise operator: all three rows in one run."""
    stage = found(tmp_path, [node("Neg", ["x"], ["y"])])
    assert (stage.max_rows, stage.why_not) == (3, "")


def test_batches_of_dependent_rows_are_found(tmp_path):
    """A sum over the rows: a batch of two differs from single runs."""
    nodes = [node("ReduceSum", ["x"], ["s"], keepdims=1), node("Add", ["x", "s"], ["y"])]
    stage = found(tmp_path, nodes)
    assert stage.max_rows == 1
    assert stage.why_not.startswith("a batch of 2 differs from single runs by ")
