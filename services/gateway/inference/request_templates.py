"""Small requests that differ in nothing but their numbers from one that was read before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from google.protobuf.message import DecodeError

from onnxmesh.oip.open_inference_pb2 import ModelInferRequest
from onnxmesh.oip.request_codec import VIEW_BYTES, raw_input_prefix
from onnxmesh.routing.table.routed_model import RoutedModel
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Buffer, Tensor

MAX_FORMS = 256
"""Forms that are kept; where there are more, all are dropped."""

_MODEL_NAME = 0x0A  # ModelInferRequest.model_name = 1, length-delimited
_CHECKED = frozenset({Datatype.BYTES, Datatype.BOOL})
"""Of the others any bytes are a value."""

_NONE = (0, b"")

AnswerShape = tuple[tuple[Datatype, tuple[int, ...]], ...]
"""Type and shape of each output."""


class _Piece(NamedTuple):
    """What comes before a tensor's numbers, and the tensor without them."""

    before: bytes
    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    byte_size: int


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """A request but for its numbers: who sends the same bytes around other numbers wants the same of them.

    Attributes:
        model: What it was found to fit.
        name: What the client calls the model.
        version: Which version it names; empty: none.
        outputs: Names of the outputs that it wants; empty: all.
        answers: All of its answers but their numbers, as they go over the wire.
    """

    model: RoutedModel
    name: str
    version: str
    outputs: tuple[str, ...]
    pieces: tuple[_Piece, ...]
    answers: dict[AnswerShape, bytes] = field(default_factory=dict)

    def tensors(self, message: bytes) -> tuple[Tensor, ...] | None:
        """Returns the tensors of a request of as many bytes; None where it has another form."""
        tensors = []
        end = 0
        for before, name, datatype, shape, byte_size in self.pieces:
            if not message.startswith(before, end):
                return None
            begin = end + len(before)
            end = begin + byte_size
            tensors.append(Tensor(name, datatype, shape, message[begin:end]))
        return tuple(tensors)


class RequestTemplates:
    """The forms of requests that clients send again and again. Pure.

    To read a small request costs more than to compute it, and most clients repeat themselves. Only requests without
    an id or parameters have a form, and only those whose tensors are raw numbers.
    """

    def __init__(self) -> None:
        self._forms: dict[tuple[int, bytes], RequestTemplate] = {}

    def find(self, message: Buffer) -> tuple[RequestTemplate, tuple[Tensor, ...]] | None:
        """Returns the form of a request and its tensors, in the order of the signature; None where it has none yet."""
        if not isinstance(message, bytes):
            return None
        form = self._forms.get(_key(message))
        if form is None or (tensors := form.tensors(message)) is None:
            return None
        return form, tensors

    def keep(
        self,
        message: Buffer,
        request: ModelInferRequest,
        raw_inputs: Sequence[Buffer],
        model: RoutedModel,
        tensors: Sequence[Tensor],
    ) -> None:
        """Keeps the form of a request that was read and found right, if it has one.

        Args:
            message: As it came.
            request: The same, read.
            raw_inputs: Contents of its inputs.
            model: What it fits.
            tensors: Its inputs, in the order of the model's signature.
        """
        if not isinstance(message, bytes):
            return
        names = [tensor.name for tensor in tensors]
        key = _key(message)
        if (
            key == _NONE
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
        if not message.endswith(tail) or not _says(head, request):
            return
        before[0] = head + before[0]
        pieces = tuple(
            _Piece(prefix, tensor.name, tensor.datatype, tensor.shape, tensor.byte_size)
            for prefix, tensor in zip(before, tensors, strict=True)
        )
        if len(self._forms) >= MAX_FORMS:
            self._forms.clear()
        outputs = tuple(output.name for output in request.outputs)
        self._forms[key] = RequestTemplate(model, request.model_name, request.model_version, outputs, pieces)


def _key(message: bytes) -> tuple[int, bytes]:
    """Returns the length of a request and the model's name, by which forms are found."""
    if len(message) < 2 or message[0] != _MODEL_NAME or message[1] > 0x7F:
        return _NONE
    return len(message), message[2 : 2 + message[1]]


def _says(head: bytes, request: ModelInferRequest) -> bool:
    """Whether these bytes are all of a request but its raw inputs: else its numbers are not where they seem to be."""
    rest = ModelInferRequest()
    rest.CopyFrom(request)
    rest.ClearField("raw_input_contents")
    try:
        return ModelInferRequest.FromString(head) == rest
    except DecodeError:
        return False
