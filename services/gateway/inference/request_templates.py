"""Templates of small requests that clients repeat with other tensor contents. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from google.protobuf.message import DecodeError

from onnxmesh.oip.open_inference_pb2 import ModelInferRequest
from onnxmesh.routing.table.routed_model import RoutedModel
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Buffer, Tensor
from services.gateway.inference.request_codec import VIEW_BYTES, raw_input_prefix

MAX_TEMPLATES = 256
"""Capacity; beyond, all templates are evicted."""

_MODEL_NAME = 0x0A  # ModelInferRequest.model_name = 1, length-delimited
_CHECKED = frozenset({Datatype.BYTES, Datatype.BOOL})
"""Datatypes whose contents have to be validated; of the others any bytes are valid."""

_NO_KEY = (0, b"")

OutputShapes = tuple[tuple[Datatype, tuple[int, ...]], ...]
"""Datatype and shape of each output."""


class _Input(NamedTuple):
    """The bytes before the contents of an input, and the input without its contents."""

    before: bytes
    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    byte_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTemplate:
    """A request without its tensor contents: the same bytes around other contents mean the same request.

    Attributes:
        model: The model that it was validated against.
        name: The model's name in the request.
        version: The version in the request; empty: none.
        outputs: Names of the requested outputs; empty: all.
        inputs: Its inputs without contents, in the order of the signature.
        response_heads: Encoded responses without contents, by the shapes of their outputs.
    """

    model: RoutedModel
    name: str
    version: str
    outputs: tuple[str, ...]
    inputs: tuple[_Input, ...]
    response_heads: dict[OutputShapes, bytes] = field(default_factory=dict)

    def tensors(self, message: bytes) -> tuple[Tensor, ...] | None:
        """Returns the tensors of a request of the same length; None where it does not match."""
        tensors = []
        end = 0
        for before, name, datatype, shape, byte_size in self.inputs:
            if not message.startswith(before, end):
                return None
            begin = end + len(before)
            end = begin + byte_size
            tensors.append(Tensor(name, datatype, shape, message[begin:end]))
        return tuple(tensors)


class RequestTemplates:
    """Recognises requests that repeat an earlier one in all but their tensor contents.

    Parsing a small request costs more than computing it, and most clients repeat themselves. Only requests without an id and
    parameters have a template, and only those with raw tensor contents.
    """

    def __init__(self) -> None:
        self._templates: dict[tuple[int, bytes], RequestTemplate] = {}

    def find(self, message: Buffer) -> tuple[RequestTemplate, tuple[Tensor, ...]] | None:
        """Returns the template of a request and its tensors, in the order of the signature; None where there is none."""
        if not isinstance(message, bytes):
            return None
        template = self._templates.get(_key(message))
        if template is None or (tensors := template.tensors(message)) is None:
            return None
        return template, tensors

    def add(
        self,
        message: Buffer,
        request: ModelInferRequest,
        raw_inputs: Sequence[Buffer],
        model: RoutedModel,
        tensors: Sequence[Tensor],
    ) -> None:
        """Adds the template of a valid request, if it can have one.

        Args:
            message: The request as received.
            request: The same, parsed.
            raw_inputs: Contents of its inputs.
            model: The model that it matches.
            tensors: Its inputs, in the order of the model's signature.
        """
        if not isinstance(message, bytes):
            return
        names = [tensor.name for tensor in tensors]
        key = _key(message)
        if (
            key == _NO_KEY
            or len(message) >= VIEW_BYTES
            or request.id
            or request.parameters
            or not names
            or len(raw_inputs) != len(names)
            or [given.name for given in request.inputs] != names
            or any(tensor.datatype in _CHECKED for tensor in tensors)
        ):
            return
        before = [raw_input_prefix(len(raw)) for raw in raw_inputs]
        tail = b"".join(prefix + bytes(raw) for prefix, raw in zip(before, raw_inputs, strict=True))
        head = message[: len(message) - len(tail)]
        if not message.endswith(tail) or not _is_head_of(head, request):
            return
        before[0] = head + before[0]
        inputs = tuple(
            _Input(prefix, tensor.name, tensor.datatype, tensor.shape, tensor.byte_size)
            for prefix, tensor in zip(before, tensors, strict=True)
        )
        if len(self._templates) >= MAX_TEMPLATES:
            self._templates.clear()
        self._templates[key] = RequestTemplate(
            model=model,
            name=request.model_name,
            version=request.model_version,
            outputs=tuple(output.name for output in request.outputs),
            inputs=inputs,
        )


def _key(message: bytes) -> tuple[int, bytes]:
    """Returns the length of a request and the model's name, by which templates are found."""
    if len(message) < 2 or message[0] != _MODEL_NAME or message[1] > 0x7F:
        return _NO_KEY
    return len(message), message[2 : 2 + message[1]]


def _is_head_of(head: bytes, request: ModelInferRequest) -> bool:
    """Whether these bytes are all of a request but its raw inputs: else its contents are not where they seem to be."""
    rest = ModelInferRequest()
    rest.CopyFrom(request)
    rest.ClearField("raw_input_contents")
    try:
        return ModelInferRequest.FromString(head) == rest
    except DecodeError:
        return False
