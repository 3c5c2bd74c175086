"""Models that ONNX Runtime runs in forms that other readers refuse: one function for each form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)
"""Input `x` of every model."""

_FLOAT, _INT64, _BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
_node = helper.make_node


def _value(
    name: str, kind: int = _FLOAT, shape: Sequence[int | str] | None = ("N", 4)
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def chain(domain: str = "", first: str = "x", last: str = "y") -> list[onnx.NodeProto]:
    """Four nodes from one value to another, `a`, `b` and `c` between them."""
    names = [first, "a", "b", "c", last]
    operators = ["Relu", "Exp", "Neg", "Sin"]
    return [
        _node(operator, [names[place]], [names[place + 1]], domain=domain)
        for place, operator in enumerate(operators)
    ]


def _model(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    weights: Sequence[onnx.TensorProto] = (),
    opsets: Sequence[tuple[str, int]] = (("", 17),),
    *,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "g", [_value("x")], list(outputs or [_value("y")]), list(weights))
    imports = [helper.make_opsetid(*opset) for opset in opsets]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=9)


def _ones(name: str, factor: float = 1.0) -> onnx.TensorProto:
    return numpy_helper.from_array(np.full(4, factor, np.float32), name)


def output_twice() -> onnx.ModelProto:
    return _model(chain(), [_value("y"), _value("y")])


def output_three_times_among_others() -> onnx.ModelProto:
    return _model(chain(), [_value("b"), _value("y"), _value("b"), _value("b")])


def output_that_is_an_input() -> onnx.ModelProto:
    return _model(chain(), [_value("x"), _value("y"), _value("x")])


def output_that_is_an_initialiser() -> onnx.ModelProto:
    return _model(chain(), [_value("w", shape=[4]), _value("y"), _value("w", shape=[4])], [_ones("w")])


def output_without_shape() -> onnx.ModelProto:
    return _model(chain(), [_value("y", shape=None)])


def output_without_type() -> onnx.ModelProto:
    return _model(chain(), [onnx.ValueInfoProto(name="y")])


def output_of_wrong_shape() -> onnx.ModelProto:
    return _model(chain(), [_value("y", shape=["M"])])


def branches_of_other_rank() -> onnx.ModelProto:
    then = helper.make_graph(
        [_node("ReduceSum", ["a"], ["r"], keepdims=0)], "t", [], [_value("r", shape=None)]
    )
    other = helper.make_graph([_node("Identity", ["a"], ["q"])], "e", [], [_value("q", shape=None)])
    nodes = [
        _node("Relu", ["x"], ["a"]),
        _node("ReduceSum", ["a"], ["s"], keepdims=0),
        _node("Greater", ["s", "limit"], ["p"]),
        _node("If", ["p"], ["b"], then_branch=then, else_branch=other),
        _node("Exp", ["b"], ["c"]),
        _node("Neg", ["c"], ["y"]),
    ]
    limit = numpy_helper.from_array(np.float32(1), "limit")
    return _model(nodes, [_value("y", shape=None)], [limit])


def _loop(outputs: Sequence[str]) -> onnx.ModelProto:
    """A loop of three iterations whose body returns the named values: its state, and one per iteration."""
    body = helper.make_graph(
        [_node("Identity", ["more"], ["again"]), _node("Neg", ["v"], ["w"])],
        "body",
        [_value("i", _INT64, []), _value("more", _BOOL, []), _value("v")],
        [_value("again", _BOOL, []), *map(_value, outputs)],
    )
    nodes = [
        _node("Relu", ["x"], ["a"]),
        _node("Loop", ["trips", "true", "a"], ["z", "all"], body=body),
        _node("ReduceSum", ["all", "axis"], ["sum"], keepdims=0),
        _node("Add", ["z", "sum"], ["y"]),
    ]
    constants = {"trips": np.int64(3), "true": np.bool_(True), "axis": np.array([0], np.int64)}
    return _model(nodes, weights=[numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()])


def body_output_twice() -> onnx.ModelProto:
    return _loop(["w", "w"])


def body_output_that_is_its_input() -> onnx.ModelProto:
    return _loop(["v", "v"])


def default_domain_by_name() -> onnx.ModelProto:
    return _model(chain("ai.onnx"), opsets=[("ai.onnx", 17)])


def default_domain_by_both_names() -> onnx.ModelProto:
    return _model([*chain("ai.onnx")[:2], *chain()[2:]], opsets=[("", 17)])


def domain_imported_twice() -> onnx.ModelProto:
    """ReduceMean has `axes` as an attribute before version 18: the last import counts."""
    nodes = [*chain(last="d"), _node("ReduceMean", ["d"], ["y"], axes=[0])]
    return _model(nodes, opsets=[("ai.onnx", 18), ("", 17)])


def domain_imported_by_a_function_only() -> onnx.ModelProto:
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "F", ["p"], ["q"], chain(first="p", last="q"), opset)
    nodes = [_node("F", ["x"], ["m"], domain="own"), _node("F", ["m"], ["y"], domain="own")]
    return _model(nodes, opsets=[("ai.onnx", 17), ("own", 1)], functions=[function])


def domain_not_imported() -> onnx.ModelProto:
    return _model([*chain(last="d"), _node("Gelu", ["d"], ["y"], domain="com.microsoft")])


def default_domain_not_imported() -> onnx.ModelProto:
    return _model(chain(), opsets=[("com.microsoft", 1)])


def domain_not_used() -> onnx.ModelProto:
    return _model(chain(), opsets=[("", 17), ("com.example", 3)])


def operator_that_onnx_runtime_added() -> onnx.ModelProto:
    """What ONNX Runtime writes into the models that it optimised, before opset 17."""
    nodes = [*chain(last="d"), _node("LayerNormalization", ["d", "scale"], ["y"], axis=-1)]
    return _model(nodes, weights=[_ones("scale")], opsets=[("", 14)])


def old_ir_with_opset() -> onnx.ModelProto:
    made = _model(chain())
    made.ir_version = 2
    return made


def old_ir_with_weight_that_is_no_input() -> onnx.ModelProto:
    made = _model([*chain(last="d"), _node("Add", ["d", "w"], ["y"])], weights=[_ones("w")])
    made.ir_version = 3
    return made


def initialiser_twice() -> onnx.ModelProto:
    nodes = [*chain(last="d"), _node("Add", ["d", "w"], ["y"])]
    return _model(nodes, weights=[_ones("w", 3), _ones("v"), _ones("w", 5)])


def initialiser_without_name() -> onnx.ModelProto:
    return _model(chain(), weights=[_ones("")])


def metadata_twice() -> onnx.ModelProto:
    made = _model(chain())
    for text in ("1", "2"):
        made.metadata_props.add(key="k", value=text)
    return made


def nodes_unsorted() -> onnx.ModelProto:
    return _model([chain()[place] for place in (2, 0, 3, 1)])


def graph_without_name() -> onnx.ModelProto:
    made = _model(chain())
    made.graph.ClearField("name")
    return made


def empty_optional_inputs() -> onnx.ModelProto:
    return _model([_node("Clip", ["x", "", ""], ["d"]), *chain(first="d")])


FORMS: dict[str, Callable[[], onnx.ModelProto]] = {
    form.__name__: form
    for form in (
        output_twice,
        output_three_times_among_others,
        output_that_is_an_input,
        output_that_is_an_initialiser,
        output_without_shape,
        output_without_type,
        output_of_wrong_shape,
        branches_of_other_rank,
        body_output_twice,
        body_output_that_is_its_input,
        default_domain_by_name,
        default_domain_by_both_names,
        domain_imported_twice,
        domain_imported_by_a_function_only,
        domain_not_imported,
        default_domain_not_imported,
        domain_not_used,
        operator_that_onnx_runtime_added,
        old_ir_with_opset,
        old_ir_with_weight_that_is_no_input,
        initialiser_twice,
        initialiser_without_name,
        metadata_twice,
        nodes_unsorted,
        graph_without_name,
        empty_optional_inputs,
    )
}
"""Every form by name."""


def branch_output_twice() -> onnx.ModelProto:
    """ONNX Runtime leaves the second output of the taken branch uninitialised, so it is no example."""
    then = helper.make_graph([_node("Exp", ["a"], ["r"])], "t", [], [_value("r"), _value("r")])
    other = helper.make_graph([_node("Neg", ["a"], ["q"])], "e", [], [_value("q"), _value("q")])
    nodes = [
        _node("Relu", ["x"], ["a"]),
        _node("ReduceSum", ["a"], ["s"], keepdims=0),
        _node("Greater", ["s", "limit"], ["p"]),
        _node("If", ["p"], ["b", "c"], then_branch=then, else_branch=other),
        _node("Add", ["b", "c"], ["y"]),
    ]
    return _model(nodes, weights=[numpy_helper.from_array(np.float32(1), "limit")])


def scan_output_twice() -> onnx.ModelProto:
    """So does a Scan: running sums of rows, as state and as result of each step."""
    body = helper.make_graph(
        [_node("Add", ["s", "e"], ["o"])],
        "body",
        [_value("s", shape=[4]), _value("e", shape=[4])],
        [_value("o", shape=[4]), _value("o", shape=[4])],
    )
    nodes = [
        _node("Relu", ["x"], ["a"]),
        _node("Scan", ["zeros", "a"], ["sum", "sums"], body=body, num_scan_inputs=1),
        _node("Add", ["sums", "sum"], ["y"]),
    ]
    return _model(nodes, weights=[_ones("zeros", 0)])


def default_domain_by_name_in_branches() -> onnx.ModelProto:
    """Neither ONNX Runtime nor ONNX's checker knows the name there."""
    made = branch_output_twice()
    for operator in made.graph.node:
        operator.domain = "ai.onnx"
        for attribute in operator.attribute:
            for inner in attribute.g.node:
                inner.domain = "ai.onnx"
    made.opset_import[0].domain = "ai.onnx"
    return made
