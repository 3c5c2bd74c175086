"""What this machine's kind of device is called: machines of one name take about the same time for a model."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from onnxmesh.device.cpu_class import cpu_class, cpu_flags
from onnxmesh.device.gpu import Gpu

_CPUINFO = Path("/proc/cpuinfo")


def this_cpu_class() -> str:
    """Returns the class of this machine's CPU; one for unknown CPUs where the system does not say."""
    try:
        flags = cpu_flags(_CPUINFO.read_text())
    except OSError:
        flags = frozenset()
    return cpu_class(platform.machine(), flags)


def device_kind_name(threads: int, gpu: Gpu | None = None, cpu: str | None = None) -> str:
    """Returns the name under which times of such a device are kept, as `cpu-x86_64-avx512-1t` or `cuda-NVIDIA-L4`.

    Args:
        threads: Threads within an operator; they count on a CPU alone.
        gpu: What is computed on, if not the CPU.
        cpu: Class of the CPU; None: this machine's.
    """
    if gpu is not None:
        return f"cuda-{re.sub(r'[^A-Za-z0-9.]+', '-', gpu.model).strip('-')}"
    return f"cpu-{cpu or this_cpu_class()}-{threads}t"
