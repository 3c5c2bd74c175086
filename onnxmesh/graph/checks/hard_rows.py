"""Rows that show a dependence between rows: zeros, large values, indices at both ends of their table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.tensor import Tensor

FACTORS = (1.0, 100.0, 0.0, 255.0, 1.0, 1.0, 1e4)
"""Factors of the first rows, in this order: small batches already have tame and extreme rows side by side."""

EXTREME = frozenset(number for number, factor in enumerate(FACTORS) if factor != 1.0)
"""Numbers of the extreme rows."""

EXTREME_BOUND = 1e-2
"""Accepted relative difference of an extreme row where bits need not be equal.

Such rows amplify the rounding of kernels, by up to some 10⁴ (Magika differs by 4e-4 on bytes of which half are equal, by 2e-7 on random
ones); where rows meet they show differences of the size of the values."""

_FLOATS = frozenset({Datatype.FP16, Datatype.FP32, Datatype.FP64})
_NARROW = frozenset({Datatype.INT8, Datatype.UINT8})
_LARGEST_INTEGER = 3


def harden(requests: Sequence[Mapping[str, Tensor]], bounds: Mapping[str, int]) -> list[dict[str, Tensor]]:
    """Returns requests of one row each, of which the first have extreme values.

    Args:
        requests: Requests with random values.
        bounds: Exclusive upper bound of integers by tensor, where they are indices.
    """
    return [
        {name: _scaled(tensor, FACTORS[number], bounds.get(name)) for name, tensor in request.items()}
        if number < len(FACTORS)
        else dict(request)
        for number, request in enumerate(requests)
    ]


def _scaled(tensor: Tensor, factor: float, bound: int | None) -> Tensor:
    if factor == 1.0 or tensor.datatype not in NUMPY:
        return tensor
    array = to_array(tensor)
    if tensor.datatype in _FLOATS:
        limit = float(np.finfo(array.dtype).max)
        scaled = np.clip(array.astype(np.float64) * factor, -limit, limit)
        return from_array(tensor.name, scaled.astype(array.dtype))
    if tensor.datatype is Datatype.BOOL:
        return from_array(tensor.name, np.full_like(array, factor > 1))
    if bound is not None:
        largest = bound - 1
    else:
        largest = int(np.iinfo(array.dtype).max) if tensor.datatype in _NARROW else _LARGEST_INTEGER
    # Every other element: a row of equal indices would be an input without variance, of which no bit is certain.
    ends = array.reshape(-1).copy()
    ends[::2] = largest if factor > 1 else 0
    return from_array(tensor.name, ends.reshape(array.shape))
