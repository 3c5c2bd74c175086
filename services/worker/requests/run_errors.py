"""What went wrong while a stage ran, as the mesh error that its origin is told."""

from __future__ import annotations

from onnxmesh.errors import MeshError, ModelRunFailed, Overloaded, from_reason
from onnxmesh.ids import StageKey
from onnxmesh.telemetry.masking import masked

RETRY_AFTER_S = 0.5
"""A worker that is out of memory may have some again after this."""

_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation", "out of memory")


def told_to_origin(error: Exception, stage: StageKey) -> MeshError:
    """Returns a fresh mesh error, without the traceback, which would keep the request's tensors alive.

    Args:
        error: What was raised while the stage ran.
        stage: Where it ran.
    """
    if is_out_of_memory(error):
        return Overloaded(f"{stage} ran out of memory", retry_after_s=RETRY_AFTER_S)
    if isinstance(error, ModelRunFailed):
        return ModelRunFailed(f"{stage}: {error.message}")
    if isinstance(error, MeshError):
        return from_reason(error.reason, error.message, error.retry_after_s)
    return masked(error, stage=stage)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, be it Python's, C++'s or that of ONNX Runtime's arena."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, ModelRunFailed) and any(sign in error.message for sign in _OUT_OF_MEMORY):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)
