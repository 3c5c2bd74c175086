"""Signatures as plain values."""

from __future__ import annotations

import json

from onnxmesh.model.signature import Signature
from onnxmesh.model.tensor_spec import TensorSpec


def test_signature_survives_plain_values():
    """Inputs and outputs keep their order and are not exchanged."""
    x, y = TensorSpec("x", "FP32", (-1, 3)), TensorSpec("y", "BYTES", None)
    signature = Signature((x, y), (y,))
    assert Signature.from_plain(json.loads(json.dumps(signature.to_plain()))) == signature
