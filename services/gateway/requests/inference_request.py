"""An inference request, its result, and the layer that turns one into the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from onnxmesh.deadline import Deadline
from onnxmesh.routing.table.routed_model import RoutedModel
from onnxmesh.tensors.tensor import Tensor
from services.gateway.requests.attempts import AttemptFailure
from services.gateway.requests.request_options import DEFAULT_OPTIONS, RequestOptions
from services.gateway.requests.trace import Trace


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """One inference request on its way through the layers of the gateway.

    A request that is derived from this one by `dataclasses.replace` has failures of its own.

    Attributes:
        model: The model; where its stages are is looked up at each attempt.
        tensors: Its inputs.
        requested_outputs: Names of outputs; empty: all.
        deadline: When the client stops waiting.
        request_id: For the logs of every process that the request passes.
        traceparent: W3C trace context; may be empty.
        options: What the client specifies beside the tensors.
        split_of: Number of the request that this one is a micro-batch of; 0: it is whole.
        failures: Its failed attempts so far; the dispatcher adds to them.
    """

    model: RoutedModel
    tensors: tuple[Tensor, ...]
    requested_outputs: tuple[str, ...]
    deadline: Deadline
    request_id: str = ""
    traceparent: str = ""
    options: RequestOptions = DEFAULT_OPTIONS
    split_of: int = 0
    failures: list[AttemptFailure] = field(default_factory=list, init=False, compare=False)

    @property
    def num_bytes(self) -> int:
        """Size of its tensors."""
        return sum(tensor.byte_size for tensor in self.tensors)


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """The outputs of one request, in the order of the last worker, and the trace of its route."""

    tensors: tuple[Tensor, ...]
    trace: Trace


class InferenceLayer(Protocol):
    """One layer of the request path: it answers a request itself, or passes it on to the next layer."""

    async def infer(self, request: InferenceRequest) -> InferenceResult:
        """Runs one request to its end.

        Raises:
            MeshError: What the request failed with.
        """
        ...
