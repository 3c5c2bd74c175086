"""CPU time and memory of processes with all their children."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

_ENDED = (psutil.NoSuchProcess, psutil.AccessDenied)


class Processes:
    """Processes by name, with their children.

    Args:
        roots: By name, the ids of processes; ended ones count as zero.
    """

    def __init__(self, roots: Mapping[str, Iterable[int]]) -> None:
        self._roots = {name: tuple(pids) for name, pids in roots.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The names."""
        return tuple(self._roots)

    def cpu_s(self) -> dict[str, float]:
        """Returns the user and system time of each so far, in seconds."""
        used = {}
        for name, pids in self._roots.items():
            used[name] = 0.0
            for pid in _family(pids):
                with contextlib.suppress(*_ENDED):
                    times = psutil.Process(pid).cpu_times()
                    used[name] += times.user + times.system
        return used

    def resident_bytes(self) -> dict[str, tuple[int, int]]:
        """Returns RSS and PSS of each, in bytes."""
        held = {}
        for name, pids in self._roots.items():
            each = [_rollup(pid) for pid in _family(pids)]
            held[name] = (sum(rss for rss, _ in each), sum(pss for _, pss in each))
        return held


def _family(pids: Iterable[int]) -> set[int]:
    found = set()
    for pid in pids:
        with contextlib.suppress(*_ENDED):
            root = psutil.Process(pid)
            found |= {pid, *(child.pid for child in root.children(recursive=True))}
    return found


def _rollup(pid: int) -> tuple[int, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
    return sizes.get("Rss", 0), sizes.get("Pss", 0)
