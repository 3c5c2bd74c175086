"""Readable reasons of ONNX Runtime errors."""

from __future__ import annotations

import onnx
import pytest

from onnxmesh.device.locales import locale_cure
from onnxmesh.errors import InvalidModel
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.graph.runtime.runtime_errors import error_reason
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo.zoo_model import floats, model, node


def refusal(tmp_path, made):
    onnx.save(made, tmp_path / "m.onnx")
    with pytest.raises(InvalidModel) as caught:
        optimise(tmp_path / "m.onnx", tmp_path / "out", OptimisationLevel.EXTENDED)
    message = caught.value.message
    for noise in ("ONNXRuntimeError", "onnxruntime_src", str(tmp_path), "\n", "::Status"):
        assert noise not in message
    return message


def test_reason_names_the_node_of_a_missing_operator(tmp_path):
    """An operator of a domain that is not registered."""
    nodes = [node("Frobnicate", ["x"], ["y"], domain="com.example", name="the_odd_one")]
    made = model(nodes, [floats("x", 1)], [floats("y", 1)], opsets={"": 20, "com.example": 1})
    message = refusal(tmp_path, made)
    assert "node 'the_odd_one' (com.example.Frobnicate): this ONNX Runtime lacks the operator" in message


def test_reason_names_a_type_without_kernel(tmp_path):
    """Valid ONNX for which ONNX Runtime has no code."""
    kind = onnx.TensorProto.UINT4
    odd = onnx.helper.make_tensor_value_info("odd", kind, [2])
    out = onnx.helper.make_tensor_value_info("y", kind, [2])
    message = refusal(
        tmp_path, model([node("Identity", ["odd"], ["y"], name="the_odd_one")], [odd], [out], opsets={"": 21})
    )
    assert "Identity" in message
    assert "the_odd_one" in message


def test_reason_names_wrong_types(tmp_path):
    """Types that do not fit an operator are reported with the operator."""
    nodes = [node("Not", ["x"], ["y"], name="negation")]
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.BOOL, [1])
    message = refusal(tmp_path, model(nodes, [floats("x", 1)], [out]))
    assert "x" in message
    assert "Not" in message


IN_NODE = (
    "[ONNXRuntimeError] : 10 : INVALID_GRAPH : Load model from /a/b.onnx failed:This is an invalid model. "
    'In Node, ("n1", Foo, "x.y", -1) : ("x": tensor(float),) -> ("y",) , Error No Op registered for Foo'
)

IN_SOURCE = (
    "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime_src/a/b.cc:235 "
    "virtual void ns::F(const int&) const something is wrong"
)

IN_LOCALE = (
    "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: Failed to construct locale with "
    "name:de_DE.UTF-8:locale::facet::_S_create_c_locale name not valid:Please, install language-pack-XX"
)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (IN_NODE, "node 'n1' (x.y.Foo): No Op registered for Foo"),
        (IN_SOURCE, "something is wrong"),
        ("a plain message", "a plain message"),
        ("Error in execution: Non-zero status code", "Non-zero status code"),
        (IN_LOCALE, f"this machine lacks the locale 'de_DE.UTF-8': {locale_cure('de_DE.UTF-8')}"),
    ],
)
def test_reason_has_no_paths_or_signatures(raw, clean):
    """Status codes, source paths and C++ signatures are for ONNX Runtime's developers."""
    assert error_reason(RuntimeError(raw)) == clean


def test_reason_is_limited_in_length():
    """An error fits into a status."""
    assert len(error_reason(RuntimeError("x" * 10_000))) < 600
