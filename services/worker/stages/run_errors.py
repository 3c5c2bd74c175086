"""Exceptions of a run, as the mesh errors that its gateway receives."""

from __future__ import annotations

from onnxmesh.errors import MeshError, ModelRunFailed, Overloaded, from_reason
from onnxmesh.ids import StageKey
from onnxmesh.masking import masked

MEMORY_RETRY_AFTER_S = 0.5
"""Delay after which a request that ran out of memory may be retried."""

_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation", "out of memory")


def error_for_origin(error: Exception, stage: StageKey) -> MeshError:
    """Returns the mesh error for an exception of a run, without its traceback, which would keep tensors alive.

    Args:
        error: Raised while the stage ran.
        stage: The stage.
    """
    if is_out_of_memory(error):
        return Overloaded(f"{stage} ran out of memory", retry_after_s=MEMORY_RETRY_AFTER_S)
    if isinstance(error, ModelRunFailed):
        return ModelRunFailed(f"{stage}: {error.message}")
    if isinstance(error, MeshError):
        return from_reason(error.reason, error.message, error.retry_after_s)
    return masked(error, stage=stage)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out: in Python, in C++ or in ONNX Runtime's arena."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, ModelRunFailed) and any(sign in error.message for sign in _OUT_OF_MEMORY):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)
