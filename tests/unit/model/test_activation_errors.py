"""Tensors of a boundary that may be compressed with loss."""

from __future__ import annotations

from onnxmesh.model.activation_errors import compressible_tensors


def test_compressible_tensors_exclude_inputs_and_outputs_of_the_model():
    """Inputs that are carried on, and outputs that were ready early."""
    assert compressible_tensors(["x", "h", "early", "k"], {"x", "y", "early"}) == ["h", "k"]
