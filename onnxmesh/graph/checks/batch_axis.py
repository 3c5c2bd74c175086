"""The batch axis of a model: whether its first dimensions may be one, by its signature. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxmesh.error_text import listed
from onnxmesh.graph.reading.value_types import Dim
from onnxmesh.model.signature import Signature
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.rows import has_rows


def batch_axis_obstacle(signature: Signature, dims: Mapping[str, Sequence[Dim]]) -> str:
    """Returns why the requests of a model cannot be batched; an empty string where its signature allows it.

    The first dimension of every input must be free. Where it has a symbol, that must be the same for all inputs and
    must not be another dimension too.

    Args:
        signature: Inputs and outputs of the model.
        dims: Dimensions of each input, by name.
    """
    if not signature.inputs:
        return "the model has no inputs"
    for spec in (*signature.inputs, *signature.outputs):
        if not has_rows(Datatype(spec.datatype)):
            return f"'{spec.name}' is {spec.datatype}, which cannot be split into rows"
    for spec in signature.inputs:
        if not spec.shape or spec.shape[0] >= 0:
            return f"the first dimension of input '{spec.name}' is not free"
    symbols = {
        symbol for spec in signature.inputs if isinstance(symbol := _declared(spec, dims)[0], str) and symbol
    }
    if len(symbols) > 1:
        return f"the first dimensions of the inputs differ: {listed(sorted(symbols), quoted=False)}"
    for spec in signature.inputs:
        if symbols.intersection(map(str, _declared(spec, dims)[1:])):
            return f"input '{spec.name}' has its first dimension at another axis too"
    return ""


def has_other_free_dims(inputs: Sequence[TensorSpec]) -> bool:
    """Whether an input may vary in more than its first dimension."""
    return any(dim < 0 for spec in inputs for dim in (spec.shape or ())[1:])


def _declared(spec: TensorSpec, dims: Mapping[str, Sequence[Dim]]) -> Sequence[Dim]:
    return dims.get(spec.name) or (None,)
