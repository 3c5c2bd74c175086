"""The GPU of this machine, if ONNX Runtime here can use one."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

import onnxruntime
import structlog

from onnxmesh.errors import Unsatisfiable

CUDA = "CUDAExecutionProvider"
"""ONNX Runtime's name for NVIDIA GPUs."""

_QUERY = ("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
_QUERY_S = 10

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU.

    Attributes:
        model: As its driver calls it.
        memory_bytes: Its memory.
    """

    model: str
    memory_bytes: int


def find_gpu(wanted: str) -> Gpu | None:
    """Returns the first GPU, or None for the CPU.

    Args:
        wanted: `cpu`, `cuda`, or `auto`: a GPU if both the machine and this ONNX Runtime have one.

    Raises:
        Unsatisfiable: `cuda` is wanted and cannot be had (FAILED_PRECONDITION).
    """
    if wanted == "cpu":
        return None
    built_in = CUDA in onnxruntime.get_available_providers()
    gpu = _ask_driver() if built_in else None
    if gpu is None and wanted == "cuda":
        why = "no NVIDIA driver answers" if built_in else "this ONNX Runtime is built without it"
        raise Unsatisfiable(f"device cuda is not to be had: {why}")
    if gpu is not None and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    return gpu


def parse_gpu(line: str) -> Gpu | None:
    """Reads a line of `nvidia-smi`, such as `NVIDIA L4, 23034`; None if it is none."""
    model, comma, megabytes = line.rpartition(",")
    if not comma or not megabytes.strip().isdecimal():
        return None
    return Gpu(model.strip(), int(megabytes) << 20)


def _ask_driver() -> Gpu | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, *_QUERY], capture_output=True, text=True, timeout=_QUERY_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("gpu_not_asked", error=str(error))
        return None
    return parse_gpu(answer.stdout.partition("\n")[0])
