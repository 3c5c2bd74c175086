"""Abstract interpretation of whole graphs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxmesh.graph.rows.row_analysis import AnalysisTimeout, analyse_rows
from onnxmesh.graph.rows.row_state import SHARED, Mixed, RowCount, Rows, row_input

N = helper.make_node


def found(nodes, weights=None, domains=("",), expired=lambda: False, functions=()):
    """Returns what is known about the values of a graph whose input `x` is [N, 4]."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid(domain, 1 if domain else 20) for domain in domains]
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions))
    return analyse_rows(ir.from_proto(model), {"x": row_input((0, 4))}, expired)


def test_reason_names_the_node_and_where_its_output_goes():
    """So that the owner finds it in the model."""
    values = found(
        [
            N("ReduceMax", ["x"], ["m"], name="node_12", keepdims=0),
            N("Greater", ["m", "limit"], ["c"], name="node_13"),
            N("Where", ["c", "x", "limit"], ["y"]),
        ],
        {"limit": np.float32(16)},
    )
    assert values["y"].state == values["m"].state
    assert values["y"].state.reason.startswith(
        "rows meet in ReduceMax 'node_12' (its output feeds Greater 'node_13')"
    )


def test_operator_without_a_rule_ends_the_proof():
    """Of another domain it does so without rows too: it may be random."""
    values = found([N("Mystery", ["x"], ["y"], domain="my.domain")], domains=("", "my.domain"))
    assert "no rule for the operator my.domain.Mystery" in values["y"].state.reason
    nodes = [N("Mystery", ["w"], ["m"], domain="my.domain"), N("Add", ["x", "m"], ["y"])]
    assert isinstance(found(nodes, {"w": np.float32(1)}, ("", "my.domain"))["y"].state, Mixed)


def test_number_of_rows_as_data_is_mixed():
    """As a shape it is not."""
    count = [N("Shape", ["x"], ["s"]), N("Gather", ["s", "zero"], ["n"])]
    as_data = [*count, N("Cast", ["n"], ["f"], to=TensorProto.FLOAT), N("Div", ["x", "f"], ["y"])]
    assert isinstance(found(as_data, {"zero": np.array(0)})["y"].state, Mixed)
    as_shape = [
        *count,
        N("Unsqueeze", ["n", "axis"], ["b"]),
        N("Concat", ["b", "rest"], ["t"], axis=0),
        N("Reshape", ["x", "t"], ["y"]),
    ]
    values = found(as_shape, {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([2, 2])})
    assert values["y"].state == Rows(0)
    assert isinstance(values["n"].state, RowCount)


@pytest.mark.parametrize("op", ["Greater", "Less", "Mod"])
def test_comparison_with_the_number_of_rows_is_no_constant(op):
    """Although it is false for few rows."""
    nodes = [N("Size", ["x"], ["n"]), N(op, ["n", "many"], ["y"])]
    assert isinstance(found(nodes, {"many": np.array(10**6)})["y"].state, RowCount)


def test_random_values_are_never_shared():
    """Although they have no rows."""
    nodes = [N("RandomNormal", [], ["r"], shape=[4]), N("Add", ["x", "r"], ["y"])]
    assert "is random" in found(nodes)["y"].state.reason


def test_unused_mixing_does_not_matter():
    """Only what reaches an output does."""
    values = found([N("Relu", ["x"], ["y"]), N("ReduceSum", ["x"], ["unused"])])
    assert values["y"].state == Rows(0)


def test_functions_are_inlined():
    """Rows meet in the function's body."""
    function = helper.make_function(
        "local",
        "f",
        ["a"],
        ["b"],
        [N("Constant", [], ["zero"], value_int=0), N("CumSum", ["a", "zero"], ["b"])],
        [helper.make_opsetid("", 20)],
    )
    values = found([N("f", ["x"], ["y"], domain="local")], domains=("", "local"), functions=[function])
    assert "CumSum" in values["y"].state.reason


def test_values_without_rows_are_shared():
    """Computed from weights alone, by an operator without a rule too."""
    nodes = [N("NonZero", ["w"], ["z"]), N("Identity", ["x"], ["y"])]
    assert found(nodes, {"w": np.ones(3, np.float32)})["z"].state == SHARED


def test_analysis_ends_when_the_time_is_up():
    """`expired` is called at intervals."""
    nodes = [
        N("Relu", ["x"], ["n0"]),
        *(N("Relu", [f"n{k}"], [f"n{k + 1}"]) for k in range(200)),
        N("Relu", ["n200"], ["y"]),
    ]
    with pytest.raises(AnalysisTimeout):
        found(nodes, expired=lambda: True)


def test_nodes_are_analysed_in_topological_order():
    """However they are stored."""
    values = found([N("Neg", ["a"], ["y"]), N("Relu", ["x"], ["a"])])
    assert values["y"].state == Rows(0)
