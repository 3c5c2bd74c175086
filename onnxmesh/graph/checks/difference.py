"""Differences between outputs, and the differences that are accepted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxmesh.graph.reading.value_types import ValueType
from onnxmesh.tensors.arrays import to_array
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.tensor import Tensor

FULL_PRECISION_BOUND = 1e-4
"""Accepted relative difference of a portable chain that computes with 32 bits and more.

Fusion and reordering change the last bits of each operator; over some hundred operators the measured difference is
about 1e-6, and devices with other instructions stay within ten times that."""

REDUCED_PRECISION_BOUND = 2e-2
"""Accepted difference with half precision or integers of 8 bits: the last bit is up to 1/127 of a number there."""

LEAST_PRECISION_BOUND = 0.25
"""Accepted difference with float8 or integers of 4 bits: one step is up to a quarter of a number."""

_REDUCED = frozenset({Datatype.FP16, Datatype.BF16, Datatype.INT8, Datatype.UINT8})
_LEAST = frozenset(
    {
        Datatype.FLOAT8E4M3FN,
        Datatype.FLOAT8E4M3FNUZ,
        Datatype.FLOAT8E5M2,
        Datatype.FLOAT8E5M2FNUZ,
        Datatype.INT4,
        Datatype.UINT4,
    }
)
_NUMBERS = frozenset({*NUMPY, Datatype.BF16} - {Datatype.BOOL})


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """Difference of one output of a chain from the whole model's, over all inputs.

    Attributes:
        name: The output.
        equal: Whether datatype, shape and every bit are equal.
        largest_absolute: Largest difference of two elements; 0.0 if equal, infinite if shapes differ or
            the elements are not numbers.
        largest_relative: The same, relative to the largest magnitude in the whole model's output.
    """

    name: str
    equal: bool
    largest_absolute: float
    largest_relative: float


def accepted_difference(computed: Iterable[ValueType]) -> float:
    """Returns the accepted relative difference of a portable chain.

    Args:
        computed: Types of the values that the model computes.
    """
    datatypes = {value.datatype for value in computed}
    if datatypes & _LEAST:
        return LEAST_PRECISION_BOUND
    return REDUCED_PRECISION_BOUND if datatypes & _REDUCED else FULL_PRECISION_BOUND


def compare_tensors(expected: Tensor, found: Tensor) -> OutputDifference:
    """Compares two tensors bit by bit, and numerically where they differ."""
    same_kind = expected.datatype is found.datatype and expected.shape == found.shape
    if same_kind and bytes(expected.data) == bytes(found.data):
        return OutputDifference(expected.name, equal=True, largest_absolute=0.0, largest_relative=0.0)
    infinite = float("inf")
    if not same_kind or expected.datatype not in _NUMBERS:
        return OutputDifference(
            expected.name, equal=False, largest_absolute=infinite, largest_relative=infinite
        )
    absolute, relative = _distance(to_array(expected).astype(np.float64), to_array(found).astype(np.float64))
    return OutputDifference(expected.name, equal=False, largest_absolute=absolute, largest_relative=relative)


def worst_difference(name: str, differences: Sequence[OutputDifference]) -> OutputDifference:
    """Returns the largest of several differences of one output."""
    return OutputDifference(
        name,
        equal=all(difference.equal for difference in differences),
        largest_absolute=max((difference.largest_absolute for difference in differences), default=0.0),
        largest_relative=max((difference.largest_relative for difference in differences), default=0.0),
    )


def _distance(expected: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Returns the largest absolute and relative distance; infinite where one side alone is NaN or infinite."""
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    left, right = expected[~same], found[~same]
    if not left.size:
        return 0.0, 0.0
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return float("inf"), float("inf")
    absolute = float(np.abs(left - right).max())
    magnitude = float(np.abs(expected[np.isfinite(expected)]).max())
    return absolute, absolute / magnitude if magnitude else float("inf")
