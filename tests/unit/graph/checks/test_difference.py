"""Differences of tensors, computed by hand."""

from __future__ import annotations

import numpy as np

from onnxmesh.graph.checks.difference import compare_tensors
from onnxmesh.tensors.arrays import from_array


def test_compare_tensors_returns_absolute_and_relative_differences():
    """Largest absolute distance, and the same beside the largest magnitude; NaN equals NaN, and nothing else."""
    expected = from_array("y", np.array([1.0, 100.0, np.nan, np.inf], np.float32))
    close = compare_tensors(expected, from_array("y", np.array([1.5, 101.0, np.nan, np.inf], np.float32)))
    assert (close.equal, close.largest_absolute, close.largest_relative) == (False, 1.0, 0.01)
    assert compare_tensors(expected, expected).equal
    lost = compare_tensors(expected, from_array("y", np.array([1.0, 100.0, 0.0, np.inf], np.float32)))
    assert lost.largest_absolute == np.inf
    zeros = compare_tensors(from_array("y", np.float32([0.0])), from_array("y", np.float32([-0.0])))
    assert (zeros.equal, zeros.largest_absolute) == (False, 0.0)
    assert not compare_tensors(expected, from_array("y", np.zeros((2, 2), np.float32))).equal
    words = from_array("y", np.array(["a"], dtype=np.object_))
    assert (
        compare_tensors(words, from_array("y", np.array(["b"], dtype=np.object_))).largest_absolute == np.inf
    )
