"""The warm-up run."""

from __future__ import annotations

import pytest

from onnxmesh.errors import ModelRunFailed
from onnxmesh.model.tensor_spec import TensorSpec
from services.worker.stages.warm_up import warm_up, zeros
from tests.fakes.gated_session import GatedSession


@pytest.mark.parametrize(
    ("spec", "shape", "size"),
    [
        (TensorSpec("x", "FP32", (-1, 3)), (1, 3), 12),
        (TensorSpec("x", "BYTES", (2, -1)), (2, 1), 8),
        (TensorSpec("x", "INT4", (3,)), (3,), 2),
        (TensorSpec("x", "INT64", ()), (), 8),
        (TensorSpec("x", "BOOL", None), (), 1),
        (TensorSpec("x", "FP16", (0, 4)), (0, 4), 0),
    ],
)
def test_zeros_have_the_shape_of_the_spec(spec, shape, size):
    """1 for free dimensions; empty strings for BYTES."""
    made = zeros([spec])["x"]
    assert (made.shape, made.byte_size) == (shape, size)


def test_warm_up_runs_once_and_ignores_a_failure():
    """A model may reject zeros and accept requests."""
    session = GatedSession(opened=True)
    session.errors = [ModelRunFailed("zeros")]
    warm_up("m/1/0", session, [TensorSpec("x", "FP32", (-1, 2))])
    assert session.runs == [bytes(8)]
