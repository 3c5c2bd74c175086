"""Host memory that a GPU reads and writes by itself."""

from __future__ import annotations

import ctypes

import numpy as np
import onnxruntime
import structlog

from onnxmesh.memory.shared_memory import OwnMemory

_PORTABLE = 1

_log = structlog.get_logger(__name__)


def allocate_pinned(byte_size: int, library: str | None = None) -> OwnMemory | None:
    """Returns memory whose pages stay where they are, so that copies to a GPU and back need no processor and no detour.

    It is pinned until this process ends. Where it cannot be had that is logged, and copies take the detour.

    Args:
        byte_size: Its length; all of it is taken at once.
        library: CUDA's runtime; None: the one that ONNX Runtime uses.

    Source: cudaHostRegister in the CUDA Runtime API.
    """
    try:
        memory = OwnMemory(byte_size)
    except OSError as error:
        _log.warning("no_pinned_memory", bytes=byte_size, error=str(error))
        return None
    # Has the kernel give all of it, and tells where it is.
    room = memory.allocate(byte_size)
    why = "there is not enough memory" if room is None else _pin(room, library or _library())
    if not why:
        return memory
    _log.warning("no_pinned_memory", bytes=byte_size, error=why)
    memory.close()
    return None


def _library() -> str:
    version = getattr(onnxruntime, "cuda_version", "") or "12"
    return f"libcudart.so.{version.partition('.')[0]}"


def _pin(room: memoryview, library: str) -> str:
    """Returns why the driver does not pin a room; empty if it does."""
    try:
        cuda = ctypes.CDLL(library)
        register, name = cuda.cudaHostRegister, cuda.cudaGetErrorName
    except (OSError, AttributeError) as error:
        return str(error)
    name.restype = ctypes.c_char_p
    register.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint)
    code = register(np.frombuffer(room, np.uint8).ctypes.data, len(room), _PORTABLE)
    return "" if code == 0 else name(code).decode()
