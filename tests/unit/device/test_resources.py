"""Cores and memory available to a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onnxmesh.device import resources


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_cores_are_bounded_by_the_cgroup(tmp_path, files, expected):
    """Of either version; without a limit by affinity alone."""
    unlimited = resources.available_cores(tmp_path / "none")
    assert unlimited >= 1
    assert resources.available_cores(write(tmp_path, files)) == (expected or unlimited)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "1048576\n"}, 1 << 20),
        ({"memory/memory.limit_in_bytes": "2097152\n"}, 2 << 20),
        ({"memory.max": "max\n"}, 8192 * 1024),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8192 * 1024),
        ({"memory.max": "999999999999\n"}, 8192 * 1024),
    ],
)
def test_memory_is_that_of_the_cgroup_or_of_the_machine(tmp_path, files, expected):
    """Whichever is less."""
    machine = write(tmp_path, {"meminfo": "MemFree: 1 kB\nMemTotal:   8192 kB\n"}) / "meminfo"
    assert resources.available_memory_bytes(write(tmp_path / "cgroup", files), machine) == expected


def test_cores_are_ones_own_by_affinity_alone(tmp_path):
    """Where the machine has more, threads fit into those that were given, and no share of time bounds them."""
    given = len(os.sched_getaffinity(0))
    none = tmp_path / "none"
    assert resources.has_dedicated_cores(given, none, machine=given + 1)
    assert not resources.has_dedicated_cores(given + 1, none, machine=given + 1)
    assert not resources.has_dedicated_cores(1, none, machine=given)
    bounded = write(tmp_path, {"cpu.max": "400000 100000"})
    assert not resources.has_dedicated_cores(given, bounded, machine=given + 1)
