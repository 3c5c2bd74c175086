"""Expected errors of a mesh, each with its gRPC status code and reason.

The reason is a constant in UPPER_SNAKE_CASE, sent as `google.rpc.ErrorInfo`, from which a client rebuilds the class. Any
other exception is a defect, which a service masks: the peer gets INTERNAL with an incident id alone.
"""

from __future__ import annotations

from typing import ClassVar

import grpc

from onnxmesh.error_text import bounded

DOMAIN = "onnxmesh"
"""The `domain` of every `google.rpc.ErrorInfo` of a mesh."""


class MeshError(Exception):
    """Base of all expected errors: a message for people, a status code and a reason for programs.

    Args:
        message: What was expected and what was received; shortened beyond `error_text.MAX_TEXT_BYTES`.
        retry_after_s: Seconds after which a retry makes sense, or None.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"
    retriable: ClassVar[bool] = False
    """Whether a retry on another replica may succeed."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.message = bounded(message)
        super().__init__(self.message)
        self.retry_after_s = retry_after_s


class InvalidRequest(MeshError):
    """The request does not match the protocol or the model's signature."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"


class InvalidModel(MeshError):
    """The model cannot be served: not ONNX, truncated, invalid, or with an unsupported operator."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_MODEL"


class InvalidPlan(MeshError):
    """The model cannot be cut as specified."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_PLAN"


class ModelRunFailed(MeshError):
    """ONNX Runtime failed to run a stage on these inputs."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "MODEL_RUN_FAILED"


class NotFound(MeshError):
    """The model, version or blob does not exist."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"


class Unsatisfiable(MeshError):
    """No worker satisfies the constraints, whatever its load."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "UNSATISFIABLE"


class Conflict(MeshError):
    """The name, version or id is already in use, or was changed concurrently."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "CONFLICT"


class Overloaded(MeshError):
    """Admission was refused: a queue, a limit or a disk is full."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"
    retriable = True


class TooLarge(MeshError):
    """A message exceeds the configured limit."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "TOO_LARGE"


class Unavailable(MeshError):
    """There is no live replica, a worker was lost, or the service is draining."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"
    retriable = True


class StageNotHeld(Unavailable):
    """The worker does not hold the stage (any more): the route came from an older route table."""

    reason = "STAGE_GONE"


class DeadlineExceeded(MeshError):
    """The deadline passed before the result was ready."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class Cancelled(MeshError):
    """The client cancelled the request."""

    code = grpc.StatusCode.CANCELLED
    reason = "CANCELLED"


class CorruptData(MeshError):
    """A frame is truncated, or a digest does not match."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "CORRUPT_DATA"
    retriable = True


class Internal(MeshError):
    """A masked defect: the service's log has the details under the incident id."""


REASONS: dict[str, type[MeshError]] = {
    error.reason: error
    for error in (
        InvalidRequest,
        InvalidModel,
        InvalidPlan,
        ModelRunFailed,
        NotFound,
        Unsatisfiable,
        Conflict,
        Overloaded,
        TooLarge,
        Unavailable,
        StageNotHeld,
        DeadlineExceeded,
        Cancelled,
        CorruptData,
        Internal,
    )
}
"""Every error class by its reason."""


def from_reason(reason: str, message: str, retry_after_s: float | None = None) -> MeshError:
    """Rebuilds the error of a peer from its reason; an unknown reason gives `Internal`."""
    return REASONS.get(reason, Internal)(message, retry_after_s=retry_after_s)
