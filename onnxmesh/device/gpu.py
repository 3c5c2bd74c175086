"""The GPU of this machine, if ONNX Runtime here can use one."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

import onnxruntime
import structlog

from onnxmesh.device.execution_provider import CUDA
from onnxmesh.errors import Unsatisfiable

"""ONNX Runtime's name for NVIDIA GPUs."""

_QUERY = ("--query-gpu=memory.total,driver_version,compute_cap,name", "--format=csv,noheader,nounits")
_OLD_QUERY = ("--query-gpu=memory.total,driver_version,name", "--format=csv,noheader,nounits")
"""Of drivers that do not know `compute_cap` yet."""
_QUERY_S = 10
_CAPABILITY = re.compile(r"[0-9]+\.[0-9]+")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU.

    Attributes:
        model: As its driver calls it.
        memory_bytes: Its memory.
        driver: Version of its driver; may be empty.
        compute_capability: What its cores can do, as `8.9`; may be empty.
    """

    model: str
    memory_bytes: int
    driver: str = ""
    compute_capability: str = ""


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
    """Reads a line of `nvidia-smi`, such as `23034, 550.54.15, 8.9, NVIDIA L4`; None if it is none.

    Older drivers leave the third figure out.
    """
    words = [word.strip() for word in line.split(",")]
    if len(words) < 3 or not words[0].isdecimal():
        return None
    capability = words[2] if _CAPABILITY.fullmatch(words[2]) else ""
    model = ", ".join(words[3 if capability else 2 :])
    return Gpu(model, int(words[0]) << 20, words[1], capability) if model else None


def _ask_driver() -> Gpu | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    why = ""
    for query in (_QUERY, _OLD_QUERY):
        try:
            answer = subprocess.run(
                [program, *query], capture_output=True, text=True, timeout=_QUERY_S, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            why = str(error)
        else:
            return parse_gpu(answer.stdout.partition("\n")[0])
    _log.warning("gpu_not_asked", error=why)
    return None
