"""The batch axis by signature."""

from __future__ import annotations

import pytest

from onnxmesh.graph.checks.batch_axis import batch_axis_obstacle
from onnxmesh.model.signature import Signature
from onnxmesh.model.tensor_spec import TensorSpec


def signature(inputs, outputs=(("y", "FP32", (-1, 4)),)):
    return Signature(
        tuple(TensorSpec(*each) for each in inputs), tuple(TensorSpec(*each) for each in outputs)
    )


@pytest.mark.parametrize(
    ("inputs", "dims", "words"),
    [
        ([], {}, "the model has no inputs"),
        ([("x", "FP32", (1, 4))], {}, "the first dimension of input 'x' is not free"),
        ([("x", "FP32", ())], {}, "the first dimension of input 'x' is not free"),
        ([("x", "FP32", None)], {}, "the first dimension of input 'x' is not free"),
        ([("x", "BYTES", (-1,))], {}, "'x' is BYTES, which cannot be split into rows"),
        ([("x", "INT4", (-1, 4))], {}, "'x' is INT4, which cannot be split into rows"),
        (
            [("x", "FP32", (-1, 4)), ("m", "FP32", (-1,))],
            {"x": ("N", 4), "m": ("M",)},
            "the first dimensions of the inputs differ: M, N",
        ),
        (
            [("x", "FP32", (-1, -1))],
            {"x": ("N", "N")},
            "input 'x' has its first dimension at another axis too",
        ),
        ([("x", "FP32", (-1, 4)), ("m", "FP32", (-1,))], {"x": ("N", 4), "m": ("N",)}, ""),
        ([("x", "FP32", (-1, 4)), ("m", "FP32", (-1,))], {"x": ("N", 4), "m": (None,)}, ""),
        ([("x", "FP32", (-1, -1))], {"x": (None, None)}, ""),
    ],
)
def test_batch_axis_obstacle_names_what_cannot_be_batched(inputs, dims, words):
    """A free first dimension, the same for all inputs and nowhere else, may be one."""
    assert batch_axis_obstacle(signature(inputs), dims) == words
