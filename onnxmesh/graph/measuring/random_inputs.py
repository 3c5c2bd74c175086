"""Random inputs that a model is likely to accept, from its signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxmesh.graph.reading.value_types import Dim
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.arrays import from_array
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.tensor import Tensor

_WORDS = ("mesh", "stage", "worker", "route", "tensor", "größe", "", "a longer string than the others")
_DEFAULT_BOUND = 4
"""Exclusive upper bound of integers without a known one."""


def random_inputs(
    specs: Sequence[TensorSpec],
    seed: int,
    *,
    dims: Mapping[str, Sequence[Dim]] | None = None,
    free_dim: int = 2,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    bounds: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """Returns a tensor for each spec, deterministic for a seed.

    Floats are normally distributed (half precision is rounded from single), integers are not negative and small unless
    a bound is given, since they are often indices, and strings are words.

    Args:
        specs: Specs of the tensors, typically a signature's inputs.
        seed: Determines the values, not the shapes.
        dims: Declared dimensions by tensor; equal symbols have equal sizes.
        free_dim: Size of a free dimension. A tensor of unknown rank is given rank 1.
        shapes: Whole shapes by tensor; they take precedence.
        bounds: Exclusive upper bound of integers by tensor; see `index_bounds`.

    Returns:
        Tensors by name.
    """
    rng = np.random.default_rng(seed)
    symbols: dict[str, int] = {}
    tensors: dict[str, Tensor] = {}
    for spec in specs:
        shape = _shape(spec, (dims or {}).get(spec.name, ()), symbols, free_dim)
        shape = (shapes or {}).get(spec.name, shape)
        below = (bounds or {}).get(spec.name, _DEFAULT_BOUND)
        tensors[spec.name] = _random_tensor(rng, spec.name, Datatype(spec.datatype), shape, below)
    return tensors


def _shape(spec: TensorSpec, named: Sequence[Dim], symbols: dict[str, int], free_dim: int) -> tuple[int, ...]:
    shape = []
    for axis, dim in enumerate(spec.shape if spec.shape is not None else (-1,)):
        symbol = named[axis] if axis < len(named) else None
        if dim >= 0:
            shape.append(dim)
        elif isinstance(symbol, str):
            shape.append(symbols.setdefault(symbol, free_dim))
        else:
            shape.append(free_dim)
    return tuple(shape)


def _random_tensor(
    rng: np.random.Generator, name: str, datatype: Datatype, shape: tuple[int, ...], below: int
) -> Tensor:
    if datatype is Datatype.BYTES:
        return from_array(name, rng.choice(np.array(_WORDS, dtype=np.object_), size=shape))
    if datatype in {Datatype.FP64, Datatype.FP32, Datatype.FP16}:
        return from_array(name, np.asarray(rng.standard_normal(shape), dtype=NUMPY[datatype]))
    if datatype is Datatype.BF16:
        # Bfloat16 is the upper half of a single-precision number.
        bits = np.asarray(rng.standard_normal(shape), dtype=np.float32).view(np.uint32) >> 16
        return from_array(name, np.asarray(bits, dtype=np.uint16), Datatype.BF16)
    if datatype is Datatype.BOOL:
        return from_array(name, np.asarray(rng.integers(0, 2, size=shape), dtype=np.bool_))
    if datatype in NUMPY:
        return from_array(name, np.asarray(rng.integers(0, below, size=shape), dtype=NUMPY[datatype]))
    size = datatype.byte_size(int(np.prod(shape))) or 0
    return Tensor(name, datatype, shape, rng.integers(0, 8, size=size, dtype=np.uint8).tobytes())
