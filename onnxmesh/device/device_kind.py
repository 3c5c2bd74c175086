"""Device kinds: names under which devices of nearly equal speed share measured times."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from onnxmesh.device.cpu_class import cpu_class, cpu_features, cpu_flags
from onnxmesh.device.execution_provider import CPU, CUDA
from onnxmesh.device.gpu import Gpu
from onnxmesh.errors import InvalidRequest

_CPUINFO = Path("/proc/cpuinfo")


def this_cpu_class() -> str:
    """Returns the class of this machine's CPU; a class of its own where flags are unknown."""
    return cpu_class(platform.machine(), _flags())


def this_cpu_features() -> tuple[str, ...]:
    """Returns the instruction sets of this machine's CPU that users select workers by."""
    return cpu_features(platform.machine(), _flags())


def device_kind_name(threads: int, gpu: Gpu | None = None, cpu: str | None = None) -> str:
    """Returns the name of a device kind, such as `cpu-x86_64-avx512-1t` or `cuda-NVIDIA-L4`.

    Args:
        threads: Threads within an operator; part of the name of a CPU only.
        gpu: The GPU; None: the CPU.
        cpu: Class of the CPU; None: this machine's.
    """
    if gpu is not None:
        return f"cuda-{re.sub(r'[^A-Za-z0-9.]+', '-', gpu.model).strip('-')}"
    return f"cpu-{cpu or this_cpu_class()}-{threads}t"


def parse_device_kind(kind: str) -> tuple[int, tuple[str, ...]]:
    """Returns the threads and execution providers of a device kind; of one thread of the CPU for an empty name.

    Raises:
        InvalidRequest: The name is malformed (INVALID_ARGUMENT).
    """
    if kind.startswith("cuda-"):
        return 1, (CUDA, CPU)
    found = re.fullmatch(r"(?:cpu-.+-([1-9][0-9]*)t)?", kind)
    if found is None:
        raise InvalidRequest(
            f"device kind: expected a name such as cpu-x86_64-avx2-1t or cuda-NVIDIA-L4, got '{kind[:64]}'"
        )
    return int(found[1] or 1), (CPU,)


def _flags() -> frozenset[str]:
    try:
        return cpu_flags(_CPUINFO.read_text())
    except OSError:
        return frozenset()
