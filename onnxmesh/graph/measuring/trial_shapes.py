"""Shapes of random inputs to try on a model, whose signature alone does not say which sizes it accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from onnxmesh.model.input_shapes import Dim, InputShapes
from onnxmesh.model.tensor_spec import TensorSpec

Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each input, by name."""

_SMALL = 2
_SIZES = (2, 8, 32, 128, 512, 4096, 16384)
"""Sizes of dynamic dimensions besides the first. Exporters fix the batch, and kernels, windows and frames need a least size."""
_MAX_ELEMENTS = 4_000_000
"""Inputs with more elements in total are not tried: images of that many pixels take seconds."""


def trial_shapes(
    specs: Sequence[TensorSpec], symbols: Mapping[str, Sequence[Dim]], planned: InputShapes
) -> Iterator[tuple[Shapes, ...]]:
    """Yields the shapes to run a model at, the best first; those of one item are meant to be run together.

    First those of the plan and 2 for each dynamic dimension, then each of the two alone, then the plan's batch with larger
    sizes.

    Args:
        specs: The model's inputs.
        symbols: Declared dimensions, by input; equal symbols have equal sizes.
        planned: The shapes of the plan.

    Raises:
        InvalidRequest: The planned shapes contradict the model (INVALID_ARGUMENT).
    """
    of_plan: Shapes = planned.of(specs, symbols) | {
        # The plan counts an input of unknown rank as a scalar.
        spec.name: (planned.batch,)
        for spec in specs
        if spec.shape is None and spec.name not in planned.inputs
    }
    small: Shapes = sized_shapes(specs, symbols, batch=_SMALL, size=_SMALL)
    if small == of_plan:
        yield (of_plan,)
        return
    yield (of_plan, small)
    tried: list[Shapes] = [of_plan, small]
    for size in _SIZES:
        larger = sized_shapes(specs, symbols, batch=planned.batch, size=size)
        if larger not in tried and sum(map(prod, larger.values())) <= _MAX_ELEMENTS:
            tried.append(larger)
    for shapes in tried:
        yield (shapes,)


def sized_shapes(
    specs: Sequence[TensorSpec], symbols: Mapping[str, Sequence[Dim]], *, batch: int, size: int
) -> dict[str, tuple[int, ...]]:
    """Returns shapes with one size for each dynamic first dimension, and one for all other dynamic dimensions.

    A symbol that is the first dimension of any input is the batch at other axes, too. An input of unknown rank has one
    dimension.
    """
    declared = {spec.name: symbols.get(spec.name, ()) for spec in specs}
    batches = {dims[0] for dims in declared.values() if dims and isinstance(dims[0], str)}

    def of(spec: TensorSpec, axis: int, dim: int) -> int:
        if dim >= 0:
            return dim
        dims = declared[spec.name]
        is_batch = axis == 0 or (axis < len(dims) and dims[axis] in batches)
        return batch if is_batch else size

    return {
        spec.name: (batch,)
        if spec.shape is None
        else tuple(of(spec, axis, dim) for axis, dim in enumerate(spec.shape))
        for spec in specs
    }
