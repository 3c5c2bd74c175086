"""The finding for each stage of a chain."""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.graph.reading.node_order import load_graph
from onnxmesh.graph.reading.optimise import OPTIMISED
from onnxmesh.graph.rows.stage_proof import prove_stages
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import Partition

N = helper.make_node


def proofs(tmp_path, nodes, cuts, weights=None, expired=lambda: False):
    """Cuts a model [N, 4] → `y` after so many nodes and returns the findings of its stages."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    path, work = tmp_path / "m.onnx", tmp_path / f"work-{len(cuts)}"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    prepare(PrepareJob(path, work, PrepareOptions(OptimisationLevel.NONE)))
    answer = json.loads(cut_prepared(CutJob(work, CutOptions(tuple(cuts)))))
    partitions = [Partition.from_plain(plain) for plain in answer["partitions"]]
    return prove_stages(load_graph(work / "optimised" / OPTIMISED), {"x": ("N", 4)}, partitions, expired)


def test_stages_before_the_mixing_are_proven(tmp_path):
    """Those after it are not: their inputs depend on other rows already."""
    nodes = [N("Relu", ["x"], ["a"]), N("CumSum", ["a", "zero"], ["b"], name="sum"), N("Relu", ["b"], ["y"])]
    found = proofs(tmp_path, nodes, [1, 2], {"zero": np.array(0)})
    assert [bool(each.why_not) for each in found] == [False, True, True]
    assert all("CumSum 'sum'" in each.why_not for each in found[1:])
    assert {"x", "a"} <= found[0].with_rows


def test_boundary_with_rows_elsewhere_is_refused(tmp_path):
    """A worker concatenates first axes."""
    nodes = [N("Transpose", ["x"], ["t"]), N("Transpose", ["t"], ["y"])]
    found = proofs(tmp_path, nodes, [1])
    assert all("'t' has no row at each index of its first axis" in each.why_not for each in found)
    (whole,) = proofs(tmp_path, nodes, [])
    assert not whole.why_not


def test_analysis_that_is_not_done_in_time_proves_nothing(tmp_path):
    """And says so."""
    nodes = [
        N("Relu", ["x"], ["n0"]),
        *(N("Relu", [f"n{k}"], [f"n{k + 1}"]) for k in range(100)),
        N("Relu", ["n100"], ["y"]),
    ]
    (found,) = proofs(tmp_path, nodes, [], expired=lambda: True)
    assert found.why_not == "the graph was not analysed in time"


def test_whole_model_has_rows_at_both_ends(tmp_path):
    """And nothing that all rows share."""
    (found,) = proofs(tmp_path, [N("Neg", ["x"], ["y"])], [])
    assert (found.why_not, found.shared, found.with_rows) == ("", frozenset(), {"x", "y"})
