"""The machine of a benchmark, and the file of its results."""

from __future__ import annotations

import datetime as dt
import os
import platform
from pathlib import Path

import grpc
import onnxruntime

RESULTS = Path(__file__).parent / "results"


def describe_machine() -> dict[str, object]:
    """Returns date, hardware and versions."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "grpcio": grpc.__version__,
    }


def result_file(what: str) -> Path:
    """Returns the file of today's results of one kind."""
    return RESULTS / f"{dt.datetime.now(dt.UTC):%Y-%m-%d}-{what}.json"


def peak_bytes(pid: int) -> int:
    """Returns the peak memory of a process; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
