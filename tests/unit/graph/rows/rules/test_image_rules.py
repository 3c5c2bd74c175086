"""Rules of convolution, pooling, resampling and normalisation."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.graph.rows.row_state import Mixed, Rows
from onnxmesh.graph.rows.sizes import ROWS, symbol
from tests.unit.graph.rows.one_node import ints, outputs, reason, state, with_rows

X = with_rows(1, 3, 9, 8)
KERNEL = np.ones((5, 3, 3, 2), np.float32)


@pytest.mark.parametrize(
    ("attributes", "spatial"),
    [
        ({}, (7, 7)),
        ({"strides": [2, 2]}, (4, 4)),
        ({"pads": [1, 0, 1, 1]}, (9, 8)),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 3]}, (5, 3)),
        ({"dilations": [2, 1]}, (5, 7)),
    ],
)
def test_convolution_shapes(attributes, spatial):
    """By the formula of the specification."""
    assert outputs("Conv", [X, KERNEL], **attributes)[0].shape == (ROWS, 5, *spatial)


def test_convolution_of_a_free_length_has_a_size_of_its_own():
    """Equal for equal lengths."""
    free = with_rows(1, 3, symbol("T"))
    one, other = (outputs("Conv", [free, np.ones((5, 3, 4), np.float32)], strides=[2])[0] for _ in range(2))
    assert one.shape == other.shape
    assert one.state == Rows(0)


@pytest.mark.parametrize("op", ["Conv", "GlobalAveragePool", "InstanceNormalization", "LRN"])
def test_rows_at_another_axis_are_refused(op):
    """As channels they are summed."""
    others = {
        "Conv": [np.ones((5, 1, 3, 3), np.float32)],
        "InstanceNormalization": [np.ones(1, np.float32)] * 2,
    }
    attributes = {"size": 3} if op == "LRN" else {}
    assert isinstance(state(op, [with_rows(2, 1, 9, 8, axis=1), *others.get(op, [])], **attributes), Mixed)


def test_batch_normalization_is_refused_in_training():
    """Its statistics are those of the batch."""
    parameters = [np.ones(3, np.float32)] * 4
    assert state("BatchNormalization", [X, *parameters]) == Rows(0)
    assert "training" in reason("BatchNormalization", [X, *parameters], training_mode=1, num_outputs=3)
    assert "training" in reason("BatchNormalization", [X, *parameters], opset=9, num_outputs=5)


def test_mean_variance_normalization_is_over_rows_by_default():
    """As the specification says."""
    assert "over axis 0" in reason("MeanVarianceNormalization", [X])
    assert state("MeanVarianceNormalization", [X], axes=[2, 3]) == Rows(0)


def test_resize_of_rows_is_refused():
    """By scales and by sizes."""
    scales = np.array([1, 1, 2, 1.5], np.float32)
    assert outputs("Resize", [X, None, scales])[0].shape == (ROWS, 3, 18, 12)
    assert "resamples axis 0" in reason("Resize", [X, None, np.array([2, 1, 1, 1], np.float32)])
    assert "resamples axis 0" in reason("Resize", [X, None, None, ints(4, 3, 9, 8)])
    assert state("Upsample", [X, scales], opset=9) == Rows(0)


def test_indices_of_pooling_count_over_the_batch():
    """The second output of MaxPool is no row-wise value."""
    assert state("MaxPool", [X], kernel_shape=[2, 2]) == Rows(0)
    assert "whole tensor" in reason("MaxPool", [X], kernel_shape=[2, 2], num_outputs=2)


def test_grids_have_the_rows_of_their_images():
    """A shared grid would be that of certain rows."""
    assert state("GridSample", [X, with_rows(1, 4, 5, 2)]) == Rows(0)
    assert isinstance(state("GridSample", [X, np.ones((2, 4, 5, 2), np.float32)]), Mixed)


def test_fused_addend_must_have_the_same_rows():
    """Input 3 of FusedConv and of NCHWc convolutions."""
    named = {"domain": "com.microsoft"}
    bias = np.ones(5, np.float32)
    assert state("FusedConv", [X, KERNEL, bias, with_rows(1, 5, 7, 7)], **named) == Rows(0)
    assert isinstance(
        state("FusedConv", [X, KERNEL, bias, np.ones((1, 5, 7, 7), np.float32)], **named), Mixed
    )


def test_spectra_work_along_their_axis():
    """DFT and STFT."""
    assert state("DFT", [with_rows(1, 8, 1), None, np.array(1)]) == Rows(0)
    assert "along axis 0" in reason("DFT", [with_rows(1, 8, 1), None, np.array(0)])
    assert state("STFT", [with_rows(1, 16, 1), np.array(4), None, np.array(8)]) == Rows(0)


def test_blocks_of_channels_keep_rows():
    """The reordering of ONNX Runtime's NCHWc kernels."""
    named = {"domain": "com.microsoft.nchwc"}
    assert state("ReorderInput", [X], **named) == Rows(0)
    assert outputs("ReorderOutput", [X], channels=3, **named)[0].shape == (ROWS, 3, 9, 8)
