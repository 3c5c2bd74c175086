"""Cores and memory that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60
"""cgroups version 1 reports an unlimited value as this and more."""


def available_cores(cgroup: Path = _CGROUP) -> int:
    """Returns the number of cores of this process, by CPU affinity and by its cgroup's CPU quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = _cpu_share(cgroup)
    return allowed if share is None else max(1, min(allowed, math.ceil(share)))


def has_dedicated_cores(threads: int, cgroup: Path = _CGROUP, machine: int | None = None) -> bool:
    """Whether the process has dedicated cores for its threads: by CPU affinity, and without a CPU quota.

    Args:
        threads: Number of threads that run at once.
        cgroup: Mount point of cgroups.
        machine: Cores of the machine; None: `os.cpu_count()`.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    whole = os.cpu_count() or 1 if machine is None else machine
    return threads <= allowed < whole and _cpu_share(cgroup) is None


def available_memory_bytes(cgroup: Path = _CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Returns the memory limit of this process: of its cgroup and the machine, the lower; None if unknown."""
    known = [size for size in (_cgroup_memory(cgroup), _machine_memory(meminfo)) if size is not None]
    return min(known, default=None)


def _cpu_share(cgroup: Path) -> float | None:
    words = _words(cgroup / "cpu.max")
    if len(words) == 2 and words[0].isdecimal():
        return int(words[0]) / int(words[1])
    quota, period = _words(cgroup / "cpu" / "cpu.cfs_quota_us"), _words(cgroup / "cpu" / "cpu.cfs_period_us")
    if quota and period and quota[0].isdecimal() and int(period[0]) > 0:
        return int(quota[0]) / int(period[0])
    return None


def _cgroup_memory(cgroup: Path) -> int | None:
    for path in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        words = _words(path)
        if words and words[0].isdecimal() and int(words[0]) < _NO_LIMIT:
            return int(words[0])
    return None


def _machine_memory(meminfo: Path) -> int | None:
    for line in _text(meminfo).splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
