"""Rules of If, Loop and Scan."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxmesh.graph.rows.row_analysis import analyse_rows
from onnxmesh.graph.rows.row_state import Rows, RowValue, row_input
from onnxmesh.graph.rows.sizes import ROWS
from tests.unit.graph.rows.rules.row_runs import check_promise, session_of

N = helper.make_node
F, I64, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
value = helper.make_tensor_value_info


def weights(**arrays):
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]


def model_of(nodes, initialisers=(), output="y"):
    graph = helper.make_graph(
        nodes, "g", [value("x", F, ["N", 3])], [value(output, F, None)], list(initialisers)
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def output_of(model) -> RowValue:
    return analyse_rows(ir.from_proto(model), {"x": row_input((0, 3))})[model.graph.output[0].name]


def branch(op, *inputs):
    return helper.make_graph([N(op, list(inputs), ["b"])], "branch", [], [value("b", F, None)])


def conditional(condition_nodes, then="Tanh", other="Neg", initialisers=()):
    nodes = [
        *condition_nodes,
        N("If", ["c"], ["y"], name="if", then_branch=branch(then, "x"), else_branch=branch(other, "x")),
    ]
    return model_of(nodes, initialisers)


def test_if_on_a_shared_condition_joins_its_branches():
    """Whatever the condition is."""
    condition = [
        N("Shape", ["x"], ["s"], start=1),
        N("Squeeze", ["s"], ["d"]),
        N("Greater", ["d", "two"], ["c"]),
    ]
    assert output_of(conditional(condition, initialisers=weights(two=2))) == RowValue(Rows(0), (ROWS, 3))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            [N("ReduceMax", ["x"], ["m"], name="max", keepdims=0), N("Greater", ["m", "two"], ["c"])],
            "ReduceMax 'max'",
        ),
        (
            [
                N("Shape", ["x"], ["s"], end=1),
                N("Squeeze", ["s"], ["d"]),
                N("Greater", ["d", "count"], ["c"]),
            ],
            "condition that depends on the number of rows",
        ),
    ],
)
def test_if_on_rows_or_their_number_is_refused(nodes, message):
    """A branch for all rows, taken by one of them."""
    found = output_of(conditional(nodes, initialisers=weights(two=np.float32(2), count=2)))
    assert message in found.state.reason


def test_if_with_rows_at_different_axes_is_refused():
    """Or with a branch that mixes rows."""
    condition = [N("Identity", ["yes"], ["c"])]
    assert (
        "rows"
        in output_of(conditional(condition, other="Transpose", initialisers=weights(yes=True))).state.reason
    )
    assert (
        "ReduceSum"
        in output_of(conditional(condition, other="ReduceSum", initialisers=weights(yes=True))).state.reason
    )


def loop(body, outputs=("y",), carried=("x",), body_outputs=("go", "v2"), initialisers=()):
    inner = helper.make_graph(
        body,
        "body",
        [
            value("i", I64, []),
            value("c", B, []),
            *(value(f"v{'' if k == 0 else f'_{k}'}", F, None) for k in range(len(carried))),
        ],
        [value(name, B if name == "go" else F, None) for name in body_outputs],
    )
    node = N("Loop", ["trips", "", *carried], list(outputs), name="loop", body=inner)
    return model_of([node], [*weights(trips=3, limit=np.float32(9)), *initialisers], outputs[-1])


KEEP_ON = N("Identity", ["c"], ["go"])


def test_loop_keeps_rows_and_stacks_outputs_at_a_new_axis():
    """Carried values at their axis, outputs of each iteration one axis further."""
    assert output_of(loop([KEEP_ON, N("Tanh", ["v"], ["v2"])])).state == Rows(0)
    stacked = loop(
        [KEEP_ON, N("Tanh", ["v"], ["v2"]), N("Neg", ["v"], ["out"])],
        ("last", "y"),
        body_outputs=("go", "v2", "out"),
    )
    assert output_of(stacked).state == Rows(1)


def test_loop_until_all_rows_are_done_is_refused():
    """Rows wait for the slowest one; the message names the node in the body."""
    body = [
        N("Add", ["v", "v"], ["v2"]),
        N("ReduceMin", ["v2"], ["m"], name="min", keepdims=0),
        N("Less", ["m", "limit"], ["go"]),
    ]
    reason = output_of(loop(body)).state.reason
    assert "Loop 'loop'" in reason
    assert "ReduceMin 'min' (its output feeds Less" in reason


def test_loop_whose_condition_is_that_of_a_row_is_refused():
    """A count of rows that are not done."""
    body = [
        N("Add", ["v", "v"], ["v2"]),
        N("Shape", ["v"], ["s"], end=1),
        N("Squeeze", ["s"], ["n"]),
        N("Cast", ["n"], ["f"], to=F),
        N("Less", ["f", "limit"], ["go"]),
    ]
    assert "condition" in output_of(loop(body)).state.reason


def test_loop_in_which_rows_meet_only_later_is_refused():
    """A carried value is mixed from the second iteration on: a fixed point finds it."""
    body = [KEEP_ON, N("Identity", ["v_1"], ["v2"]), N("CumSum", ["v_1", "zero"], ["v3"], name="sum")]
    model = loop(
        body, ("a", "b"), ("x", "x"), body_outputs=("go", "v2", "v3"), initialisers=weights(zero=np.array(0))
    )
    found = analyse_rows(ir.from_proto(model), {"x": row_input((0, 3))})
    assert "CumSum 'sum'" in found["a"].state.reason


def test_loop_with_a_growing_value_has_a_free_size():
    """Concatenated along another axis in each iteration; it holds in the runtime."""
    model = loop([KEEP_ON, N("Concat", ["v", "v"], ["v2"], axis=1)])
    found = output_of(model)
    assert found.state == Rows(0)
    rows = [np.random.default_rng(seed).standard_normal((1, 3)).astype(np.float32) for seed in range(3)]
    check_promise(session_of(model), {"y": found}, {"x": rows}, {"x": 0})


def scan(axis, out_axis=0):
    body = helper.make_graph(
        [N("Add", ["s", "t"], ["s2"]), N("Neg", ["s2"], ["out"])],
        "body",
        [value("s", F, None), value("t", F, None)],
        [value("s2", F, None), value("out", F, None)],
    )
    first = N("Slice", ["x", "zero", "one", "last"], ["s0"])
    flat = N("Squeeze", ["s0", "last"], ["s1"])
    node = N(
        "Scan", ["s1", "x"], ["state", "y"], name="scan", body=body, num_scan_inputs=1, scan_input_axes=[axis],
        scan_output_axes=[out_axis],
    )  # fmt: skip
    return model_of([first, flat, node], weights(zero=[0], one=[1], last=[1]))


def test_scan_over_another_axis_keeps_rows():
    """Outputs are stacked along the specified axis."""
    assert output_of(scan(1)).state == Rows(1)
    assert output_of(scan(1, 1)).state == Rows(0)


def test_scan_over_rows_is_refused():
    """Each row would see those before it."""
    assert "scans axis 0" in output_of(scan(0)).state.reason
