"""Validation of an inference request against the signature of its model. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.error_text import did_you_mean, listed
from onnxmesh.errors import InvalidRequest
from onnxmesh.oip.open_inference_pb2 import ModelInferRequest
from onnxmesh.routing.table.routed_model import RoutedModel, RoutedTensor
from onnxmesh.tensors.bytes_codec import decode_bytes
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Buffer, Tensor
from services.gateway.inference.parameters import refuse_tensor_parameters
from services.gateway.inference.typed_contents import FIELDS, raw_from_typed

MAX_ELEMENTS = 2**63 - 1
"""Shapes with more elements overflow the integers that ONNX Runtime counts in."""


def read_inputs(
    request: ModelInferRequest, raw_inputs: Sequence[Buffer], model: RoutedModel
) -> tuple[Tensor, ...]:
    """Returns the request's tensors in the order of the model's signature.

    Raw contents are not copied.

    Args:
        request: The request; its own `raw_input_contents` is ignored.
        raw_inputs: The raw contents, one entry for each input, or none at all.
        model: The model with its signature.

    Raises:
        InvalidRequest: The request does not match; the message names the tensor, what was expected and what was
            received (INVALID_ARGUMENT).
    """
    tensors: list[Tensor | None] = [None] * len(model.inputs)
    raw_inputs = raw_inputs or ()
    for position, given in enumerate(request.inputs):
        name = given.name
        spec = model.input_by_name.get(name)
        if spec is None:
            raise InvalidRequest(
                f"unknown input '{name}': {model} takes {_names(model.inputs)}"
                f"{did_you_mean(name, model.input_by_name)}"
            )
        if tensors[spec.index] is not None:
            raise InvalidRequest(f"input '{name}' is given twice")
        if given.parameters:
            refuse_tensor_parameters(f"input '{name}'", given.parameters)
        if given.datatype != spec.datatype:
            raise InvalidRequest(f"input '{name}': expected {spec.datatype}, got '{given.datatype}'")
        shape = tuple(given.shape)
        num_elements = _checked_size(shape, spec)
        data: Buffer
        if not raw_inputs:
            data = _typed(given, spec, shape)
        elif given.HasField("contents"):
            raise InvalidRequest(
                f"input '{name}': has typed contents beside raw_input_contents; send one or the other"
            )
        elif position >= len(raw_inputs):
            raise _wrong_raw_count(request, raw_inputs)
        else:
            data = raw_inputs[position]
            _check_raw(data, spec, shape, num_elements)
        tensors[spec.index] = Tensor(name, spec.datatype, shape, data)
    present = tuple(tensor for tensor in tensors if tensor is not None)
    if len(present) < len(tensors):
        missing = [spec for spec, tensor in zip(model.inputs, tensors, strict=True) if tensor is None]
        verb = "is" if len(missing) == 1 else "are"
        noun = "input" if len(missing) == 1 else "inputs"
        raise InvalidRequest(f"{noun} {_names(missing)} {verb} missing: {model} takes {_names(model.inputs)}")
    if len(raw_inputs) > len(present):
        raise _wrong_raw_count(request, raw_inputs)
    return present


def read_outputs(request: ModelInferRequest, model: RoutedModel) -> tuple[str, ...]:
    """Returns the names of the requested outputs, in the order of the request; empty: all.

    Raises:
        InvalidRequest: An output that the model does not have, or one that is named twice (INVALID_ARGUMENT).
    """
    if not request.outputs:
        return ()
    requested: list[str] = []
    for output in request.outputs:
        if output.name not in model.output_by_name:
            raise InvalidRequest(
                f"unknown output '{output.name}': {model} gives {_names(model.outputs)}"
                f"{did_you_mean(output.name, model.output_by_name)}"
            )
        if output.name in requested:
            raise InvalidRequest(f"output '{output.name}' is requested twice")
        if output.parameters:
            refuse_tensor_parameters(f"output '{output.name}'", output.parameters)
        requested.append(output.name)
    return tuple(requested)


def _checked_size(shape: tuple[int, ...], spec: RoutedTensor) -> int:
    """Returns the number of elements of a shape that fits the signature."""
    num_elements, extent = 1, 1
    for axis, dimension in enumerate(shape):
        if dimension < 0:
            raise InvalidRequest(
                f"input '{spec.name}': expected no negative dimension, "
                f"got {dimension} at axis {axis} of {_brackets(shape)}"
            )
        num_elements *= dimension
        extent *= dimension or 1
    if extent > MAX_ELEMENTS:
        raise InvalidRequest(
            f"input '{spec.name}': expected {MAX_ELEMENTS} elements at most, got shape {_brackets(shape)}"
        )
    if shape != spec.shape:
        if len(shape) != len(spec.shape):
            raise InvalidRequest(
                f"input '{spec.name}': expected rank {len(spec.shape)} {_brackets(spec.shape)}, "
                f"got rank {len(shape)} {_brackets(shape)}"
            )
        for dimension, expected in zip(shape, spec.shape, strict=True):
            if expected >= 0 and dimension != expected:
                raise InvalidRequest(
                    f"input '{spec.name}': expected shape {_brackets(spec.shape)}, got {_brackets(shape)}"
                )
    return num_elements


def _check_raw(data: Buffer, spec: RoutedTensor, shape: tuple[int, ...], num_elements: int) -> None:
    expected = spec.datatype.byte_size(num_elements)
    if expected is None:
        decode_bytes(data, num_elements, spec.name)
    elif len(data) != expected:
        raise InvalidRequest(
            f"input '{spec.name}': expected {expected} bytes for {spec.datatype} {_brackets(shape)}, "
            f"got {len(data)}"
        )
    elif spec.datatype is Datatype.BOOL and (invalid := bytes(data).translate(None, b"\0\1")):
        raise InvalidRequest(f"input '{spec.name}': expected 0 or 1 in each byte of BOOL, got {invalid[0]}")


def _typed(given: ModelInferRequest.InferInputTensor, spec: RoutedTensor, shape: tuple[int, ...]) -> Buffer:
    if not given.HasField("contents") and 0 not in shape:
        field = FIELDS.get(spec.datatype)
        raise InvalidRequest(
            f"input '{spec.name}': expected its elements in raw_input_contents"
            + (f" or {field}" if field else "")
            + ", got neither"
        )
    return raw_from_typed(given.contents, spec.datatype, shape, spec.name)


def _wrong_raw_count(request: ModelInferRequest, raw_inputs: Sequence[Buffer]) -> InvalidRequest:
    return InvalidRequest(
        f"expected {len(request.inputs)} entries in raw_input_contents, one for each input, "
        f"got {len(raw_inputs)}"
    )


def _names(tensors: Sequence[RoutedTensor]) -> str:
    return listed((tensor.name for tensor in tensors), none="nothing")


def _brackets(shape: Sequence[int]) -> str:
    return f"[{listed(shape, quoted=False, separator=',', none='')}]"
