"""Optimisation of the whole model."""

from __future__ import annotations

import onnx
import pytest

from onnxmesh.graph.reading.optimise import MAX_INLINE_MODEL_BYTES, optimise, weight_bytes_of
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo import ZOO


@pytest.mark.parametrize("level", list(OptimisationLevel))
def test_optimise_keeps_small_weights_in_the_model(tmp_path, level):
    """One file, as long as it is small."""
    optimised = optimise(ZOO["mlp"].build(tmp_path), tmp_path / "out", level)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [optimised.name]
    StageSession(optimised)


def test_optimise_writes_large_weights_to_a_file(tmp_path):
    """ResNet-50 has about 100 MB."""
    source = ZOO["resnet50"].build(tmp_path)
    assert weight_bytes_of(onnx.load(source)) > MAX_INLINE_MODEL_BYTES
    optimised = optimise(source, tmp_path / "out", OptimisationLevel.EXTENDED)
    assert optimised.stat().st_size < 1_000_000
    assert (tmp_path / "out" / "optimised.weights").stat().st_size > MAX_INLINE_MODEL_BYTES
