"""Specs of tensors as plain values."""

from __future__ import annotations

import json

import pytest

from onnxmesh.model.tensor_spec import TensorSpec


@pytest.mark.parametrize("shape", [None, (), (-1, 3), (0,)])
def test_tensor_spec_survives_plain_values(shape):
    """An unknown rank and a scalar are different."""
    spec = TensorSpec("x", "FP32", shape)
    assert TensorSpec.from_plain(json.loads(json.dumps(spec.to_plain()))) == spec


@pytest.mark.parametrize(
    "plain", [{"name": "x", "datatype": "FP32"}, {"name": "x", "datatype": "FP32", "shape": 3}]
)
def test_tensor_spec_refuses_other_forms(plain):
    """The caller reports the file."""
    with pytest.raises((KeyError, TypeError)):
        TensorSpec.from_plain(plain)
