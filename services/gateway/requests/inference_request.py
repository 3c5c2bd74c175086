"""What the edge asks of the dispatcher, and what it gets."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.deadline import Deadline
from onnxmesh.routing.selectors.preference import Preference
from onnxmesh.routing.selectors.selector import ANY_WORKER, Selector
from onnxmesh.routing.table.routed_model import RoutedModel
from onnxmesh.tensors.tensor import Tensor
from services.gateway.requests.trace import Trace


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """One request as the dispatcher needs it.

    Attributes:
        model: What to run; where its stages are is looked up anew at each attempt.
        tensors: Its inputs.
        requested_outputs: Empty means all.
        deadline: When the client stops to care.
        request_id: For the logs of every process that the request passes.
        traceparent: W3C trace context; may be empty.
        require: What each worker must meet.
        prefer: What it should meet.
        session: What goes to the workers that served it last; empty: no session.
        priority: Less is more urgent; 0: not said.
        split_of: Number of the request that it is a micro-batch of; 0: it is whole.
    """

    model: RoutedModel
    tensors: tuple[Tensor, ...]
    requested_outputs: tuple[str, ...]
    deadline: Deadline
    request_id: str = ""
    traceparent: str = ""
    require: Selector = ANY_WORKER
    prefer: tuple[Preference, ...] = ()
    session: str = ""
    priority: int = 0
    split_of: int = 0

    @property
    def num_bytes(self) -> int:
        """What its tensors hold."""
        return sum(tensor.byte_size for tensor in self.tensors)


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """The outputs of one request, in the order the last worker gave them, and the way it took."""

    tensors: tuple[Tensor, ...]
    trace: Trace
