"""The boundaries that keep rows apart."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxmesh.graph.build_jobs import PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import prepare
from onnxmesh.graph.costs.graph_analysis import analyse_graph, boundary_types
from onnxmesh.graph.rows.row_boundaries import mark_boundaries
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel

N = helper.make_node


def model(tmp_path, nodes, weights=None, first="N", functions=()):
    """Writes a model [N, 4] → `y`."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [first, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    path = tmp_path / "m.onnx"
    opsets = [helper.make_opsetid("", 20), *(helper.make_opsetid(each.domain, 1) for each in functions)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))
    onnx.save(made, path)
    return path


def marks(tmp_path, nodes, weights=None, **given):
    """Returns whether each boundary keeps rows."""
    path = model(tmp_path, nodes, weights, **given)
    types = boundary_types(path)
    return [
        each.keeps_rows for each in mark_boundaries(path, analyse_graph(path, None, types), types).boundaries
    ]


def test_transposed_folded_and_mixed_rows_are_marked(tmp_path):
    """Before and behind them boundaries keep rows; behind mixed rows none does."""
    nodes = [
        N("Relu", ["x"], ["a"]),
        N("Transpose", ["a"], ["turned"]),
        N("Transpose", ["turned"], ["b"]),
        N("Reshape", ["b", "two"], ["folded"]),
        N("Reshape", ["folded", "four"], ["c"]),
        N("CumSum", ["c", "zero"], ["mixed"]),
        N("Relu", ["mixed"], ["y"]),
    ]
    weights = {"two": np.array([-1, 2]), "four": np.array([-1, 4]), "zero": np.array(0)}
    assert marks(tmp_path, nodes, weights) == [True, False, True, False, True, False]


def test_sizes_that_are_computed_again_behind_the_cut_do_not_count(tmp_path):
    """The shape of a value that crosses is such a size, unless a stage has no other output; that of another value crosses itself."""
    nodes = [N("Shape", ["x"], ["s"]), N("Relu", ["x"], ["a"]), N("Reshape", ["a", "s"], ["y"])]
    assert marks(tmp_path, nodes) == [False, False]
    nodes = [N("Relu", ["x"], ["a"]), N("Shape", ["a"], ["s"]), N("Neg", ["a"], ["b"])]
    nodes += [N("Add", ["a", "b"], ["c"]), N("Reshape", ["c", "s"], ["y"])]
    assert marks(tmp_path, nodes) == [True, False, True, False]


def test_functions_are_followed(tmp_path):
    """The boundaries are those of the calls."""
    body = helper.make_function(
        "own", "turn", ["v"], ["w"], [N("Transpose", ["v"], ["w"])], [helper.make_opsetid("", 20)]
    )
    nodes = [
        N("turn", ["x"], ["t"], domain="own"),
        N("turn", ["t"], ["u"], domain="own"),
        N("Relu", ["u"], ["y"]),
    ]
    assert marks(tmp_path, nodes, functions=[body]) == [False, True]


def test_graph_that_is_not_analysed_in_time_has_no_marks(tmp_path):
    """The planner then has no preference."""
    path = model(
        tmp_path,
        [
            N("Transpose", ["x"], ["n0"]),
            *(N("Relu", [f"n{k}"], [f"n{k + 1}"]) for k in range(80)),
            N("Transpose", ["n80"], ["y"]),
        ],
    )
    types = boundary_types(path)
    costs = analyse_graph(path, None, types)
    assert mark_boundaries(path, costs, types, lambda: True) == costs
    assert mark_boundaries(path, costs, types) != costs


@pytest.mark.parametrize(("first", "expected"), [("N", [False]), (3, [True])])
def test_prepared_models_have_marks_where_their_first_dimension_may_be_a_batch(tmp_path, first, expected):
    """A model with a fixed first dimension has no batches to lose."""
    nodes = [N("Transpose", ["x"], ["t"]), N("Transpose", ["t"], ["y"])]
    job = PrepareJob(
        model(tmp_path, nodes, first=first), tmp_path / "work", PrepareOptions(OptimisationLevel.NONE)
    )
    costs = GraphCosts.from_json(json.loads(prepare(job))["costs"])
    assert [each.keeps_rows for each in costs.boundaries] == expected
