"""The errors that onnxmesh raises on purpose.

Each carries the gRPC status code that it becomes on the wire and a `reason`, a constant in
UPPER_SNAKE_CASE from which a client rebuilds the class. Anything that is not a `MeshError` is a
defect and leaves a service as INTERNAL with the request id alone.
"""

from __future__ import annotations

from typing import ClassVar

import grpc

DOMAIN = "onnxmesh"
"""The `domain` of every `google.rpc.ErrorInfo` that a mesh sends."""


class MeshError(Exception):
    """An expected failure: a message for a person, a status code and a reason for a program.

    Args:
        message: Names what was expected and what came.
        retry_after_s: Seconds after which trying again makes sense, or None.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"
    retriable: ClassVar[bool] = False
    """Whether another replica may succeed where this one failed."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class InvalidRequest(MeshError):
    """The request does not match the protocol or the model's signature."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"


class InvalidModel(MeshError):
    """The file is not a model that can be served: not ONNX, truncated, invalid, unsupported op."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_MODEL"


class InvalidPlan(MeshError):
    """The model cannot be cut as asked."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_PLAN"


class ModelRunFailed(MeshError):
    """ONNX Runtime refused to run a stage on these inputs."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "MODEL_RUN_FAILED"


class NotFound(MeshError):
    """No such model, version or blob."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"


class Unsatisfiable(MeshError):
    """No worker, present or not busy, can satisfy the constraints."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "UNSATISFIABLE"


class Conflict(MeshError):
    """Something else has that name or version already."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "CONFLICT"


class Overloaded(MeshError):
    """Admission was refused: a queue or a limit is full."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"
    retriable = True


class TooLarge(MeshError):
    """A message is over the configured limit."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "TOO_LARGE"


class Unavailable(MeshError):
    """No live replica, a lost worker, a draining service."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"
    retriable = True


class StageGone(Unavailable):
    """The worker does not hold the stage: the route was made from an older table."""

    reason = "STAGE_GONE"


class DeadlineExceeded(MeshError):
    """The deadline passed before the answer was there."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class Cancelled(MeshError):
    """The client gave the request up."""

    code = grpc.StatusCode.CANCELLED
    reason = "CANCELLED"


class CorruptData(MeshError):
    """A truncated frame or a digest that does not match."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "CORRUPT_DATA"
    retriable = True


class Internal(MeshError):
    """A defect, masked: the log has the rest under the request id."""


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
        StageGone,
        DeadlineExceeded,
        Cancelled,
        CorruptData,
        Internal,
    )
}
"""Every error class by its reason."""


def from_reason(reason: str, message: str, retry_after_s: float | None = None) -> MeshError:
    """Rebuilds the error that a peer described; an unknown reason gives `Internal`."""
    return REASONS.get(reason, Internal)(message, retry_after_s=retry_after_s)
