"""Pinned host memory, which a GPU reads and writes by DMA."""

from __future__ import annotations

import ctypes

import numpy as np
import onnxruntime
import structlog

from onnxmesh.memory.shared_memory import OwnMemory

_PORTABLE = 1

_log = structlog.get_logger(__name__)


def allocate_pinned(byte_size: int, library: str | None = None) -> OwnMemory | None:
    """Returns pinned memory, so that copies to a GPU and back need no CPU and no intermediate buffer.

    It stays pinned until this process ends. On failure a warning is logged, and copies use an intermediate buffer.

    Args:
        byte_size: Its length; the kernel allocates all of it at once.
        library: The CUDA runtime library; None: the one that ONNX Runtime uses.

    Source: cudaHostRegister in the CUDA Runtime API.
    """
    try:
        memory = OwnMemory(byte_size)
    except OSError as error:
        _log.warning("no_pinned_memory", bytes=byte_size, error=str(error))
        return None
    # Allocated by the kernel, and with a known address.
    buffer = memory.allocate(byte_size)
    why = "there is not enough memory" if buffer is None else _pin(buffer, library or _library())
    if not why:
        return memory
    _log.warning("no_pinned_memory", bytes=byte_size, error=why)
    memory.close()
    return None


def _library() -> str:
    version = getattr(onnxruntime, "cuda_version", "") or "12"
    return f"libcudart.so.{version.partition('.')[0]}"


def _pin(buffer: memoryview, library: str) -> str:
    """Returns why the driver does not pin the buffer; empty if it does."""
    try:
        cuda = ctypes.CDLL(library)
        register, name = cuda.cudaHostRegister, cuda.cudaGetErrorName
    except (OSError, AttributeError) as error:
        return str(error)
    name.restype = ctypes.c_char_p
    register.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint)
    code = register(np.frombuffer(buffer, np.uint8).ctypes.data, len(buffer), _PORTABLE)
    return "" if code == 0 else name(code).decode()
