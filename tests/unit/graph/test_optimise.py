"""ONNX Runtime's refusals, made readable."""

from __future__ import annotations

import onnx
import pytest

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.reading.optimise import MAX_INLINE_MODEL_BYTES, optimise, weight_bytes_of
from onnxmesh.graph.runtime.runtime_errors import error_reason
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo import ZOO
from tests.zoo.zoo_model import floats, model, node


def refusal(tmp_path, made):
    onnx.save(made, tmp_path / "m.onnx")
    with pytest.raises(InvalidModel) as caught:
        optimise(tmp_path / "m.onnx", tmp_path / "out", OptimisationLevel.EXTENDED)
    message = caught.value.message
    for noise in ("ONNXRuntimeError", "onnxruntime_src", str(tmp_path), "\n", "::Status"):
        assert noise not in message
    return message


def test_an_operator_that_onnx_runtime_lacks_is_named(tmp_path):
    """One of a domain that nobody registered."""
    nodes = [node("Frobnicate", ["x"], ["y"], domain="com.example", name="the_odd_one")]
    made = model(nodes, [floats("x", 1)], [floats("y", 1)], opsets={"": 20, "com.example": 1})
    message = refusal(tmp_path, made)
    assert "node 'the_odd_one' (com.example.Frobnicate): this ONNX Runtime lacks the operator" in message


def test_a_type_without_kernel_is_named(tmp_path):
    """Valid ONNX for which ONNX Runtime has no code."""
    kind = onnx.TensorProto.UINT4
    odd = onnx.helper.make_tensor_value_info("odd", kind, [2])
    out = onnx.helper.make_tensor_value_info("y", kind, [2])
    message = refusal(
        tmp_path, model([node("Identity", ["odd"], ["y"], name="the_odd_one")], [odd], [out], opsets={"": 21})
    )
    assert "Identity" in message
    assert "the_odd_one" in message


def test_wrong_types_are_named(tmp_path):
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


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (IN_NODE, "node 'n1' (x.y.Foo): No Op registered for Foo"),
        (IN_SOURCE, "something is wrong"),
        ("a plain message", "a plain message"),
    ],
)
def test_noise_is_stripped(raw, clean):
    """Status codes, source paths and C++ signatures are for ONNX Runtime's developers."""
    assert error_reason(RuntimeError(raw)) == clean


def test_long_messages_are_cut():
    """An error fits into a status."""
    assert len(error_reason(RuntimeError("x" * 10_000))) < 600


@pytest.mark.parametrize("level", list(OptimisationLevel))
def test_small_weights_stay_in_the_model(tmp_path, level):
    """One file, as long as it is small."""
    optimised = optimise(ZOO["mlp"].build(tmp_path), tmp_path / "out", level)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [optimised.name]
    StageSession(optimised)


def test_large_weights_get_their_own_file(tmp_path):
    """ResNet-50 has about 100 MB."""
    source = ZOO["resnet50"].build(tmp_path)
    assert weight_bytes_of(onnx.load(source)) > MAX_INLINE_MODEL_BYTES
    optimised = optimise(source, tmp_path / "out", OptimisationLevel.EXTENDED)
    assert optimised.stat().st_size < 1_000_000
    assert (tmp_path / "out" / "optimised.weights").stat().st_size > MAX_INLINE_MODEL_BYTES
