"""The GPU of this machine, where ONNX Runtime can use it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

import onnxruntime
import structlog

from onnxmesh.device.execution_provider import CUDA
from onnxmesh.errors import Unsatisfiable

_QUERY = ("--query-gpu=memory.total,driver_version,compute_cap,name", "--format=csv,noheader,nounits")
_OLD_QUERY = ("--query-gpu=memory.total,driver_version,name", "--format=csv,noheader,nounits")
"""For drivers without `compute_cap`."""
_QUERY_TIMEOUT_S = 10
_CAPABILITY = re.compile(r"[0-9]+\.[0-9]+")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU.

    Attributes:
        model: Name reported by the driver.
        memory_bytes: Size of its memory.
        driver: Version of its driver; may be empty.
        compute_capability: CUDA compute capability, such as `8.9`; may be empty.
    """

    model: str
    memory_bytes: int
    driver: str = ""
    compute_capability: str = ""


def find_gpu(wanted: str) -> Gpu | None:
    """Returns the first GPU, or None for the CPU.

    Args:
        wanted: `cpu`, `cuda`, or `auto`: a GPU if the machine has one and this ONNX Runtime supports it.

    Raises:
        Unsatisfiable: `cuda` is requested and not available (FAILED_PRECONDITION).
    """
    if wanted == "cpu":
        return None
    built_in = CUDA in onnxruntime.get_available_providers()
    gpu = _query_driver() if built_in else None
    if gpu is None and wanted == "cuda":
        why = "no NVIDIA driver found" if built_in else "this ONNX Runtime is built without CUDA"
        raise Unsatisfiable(f"device cuda is not available: {why}")
    if gpu is not None and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    return gpu


def parse_gpu(line: str) -> Gpu | None:
    """Parses a line of `nvidia-smi`, such as `23034, 550.54.15, 8.9, NVIDIA L4`; None if it has another form.

    Older drivers omit the third field.
    """
    words = [word.strip() for word in line.split(",")]
    if len(words) < 3 or not words[0].isdecimal():
        return None
    capability = words[2] if _CAPABILITY.fullmatch(words[2]) else ""
    model = ", ".join(words[3 if capability else 2 :])
    return Gpu(model, int(words[0]) << 20, words[1], capability) if model else None


def _query_driver() -> Gpu | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    why = ""
    for query in (_QUERY, _OLD_QUERY):
        try:
            answer = subprocess.run(
                [program, *query], capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            why = str(error)
        else:
            return parse_gpu(answer.stdout.partition("\n")[0])
    _log.warning("gpu_query_failed", error=why)
    return None
