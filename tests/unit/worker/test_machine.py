"""What a worker finds out about its machine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from socket import gethostname

import pytest

from onnxmesh.device import resources
from onnxmesh.device.cpu_class import cpu_class, cpu_features, cpu_flags
from onnxmesh.device.gpu import Gpu, parse_gpu
from onnxmesh.errors import Conflict
from onnxmesh.routing.selectors.labels import labels_of
from onnxmesh.routing.selectors.selector_text import parse_selector
from services.worker.machine.hardware import Hardware
from services.worker.models.cache_folder import cache_folder
from services.worker.settings import WorkerSettings

AVX512 = "avx avx2 fma avx512f avx512bw avx512dq avx512vl"


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "sse4_1 avx avx2 fma", "x86_64-avx2"),
        ("x86_64", "sse4_1 avx avx2", "x86_64-avx"),
        ("AMD64", "sse4_1", "x86_64-sse41"),
        ("x86_64", "sse2", "x86_64-sse2"),
        ("x86_64", AVX512, "x86_64-avx512"),
        ("x86_64", "avx avx2 fma avx512f", "x86_64-avx512f"),
        ("x86_64", f"{AVX512} avx512_vnni avx512_bf16 amx_tile amx_int8", "x86_64-avx512-vnni-bf16-amx"),
        ("x86_64", "avx avx2 fma avx_vnni", "x86_64-avx2-avxvnni"),
        ("aarch64", "fp asimd", "aarch64-neon"),
        ("arm64", "fp asimd asimdhp asimddp i8mm bf16 sve", "aarch64-neon-fp16-dotprod-i8mm-bf16-sve"),
        ("x86_64", "", "x86_64-unknown"),
        ("riscv64", "rv64", "riscv64-unknown"),
        ("", "", "unknown-unknown"),
    ],
)
def test_a_cpu_class_names_what_kernels_are_chosen_by(machine, flags, expected):
    """Two CPUs that differ in it are of two classes."""
    assert cpu_class(machine, flags.split()) == expected


@pytest.mark.parametrize(
    ("machine", "flags", "features"),
    [
        ("x86_64", f"{AVX512} avx512_vnni amx_tile amx_int8 avx_vnni", ("avx2", "avx512", "vnni", "amx")),
        ("AMD64", "avx avx2 fma avx_vnni", ("avx2", "vnni")),
        ("x86_64", "avx avx2 avx512f amx_tile", ("avx2",)),
        ("x86_64", "sse2", ()),
        ("aarch64", "fp asimd sve", ("neon", "sve")),
        ("arm64", "", ()),
        ("riscv64", "rv64 avx2", ()),
    ],
)
def test_instruction_sets_that_people_choose_by(machine, flags, features):
    """Each under one name, whole or not at all."""
    cpuinfo = f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: {flags} more\n"
    assert cpu_features(machine, cpu_flags(cpuinfo)) == features


def hardware(**changes):
    facts = Hardware("x86_64-avx2", 4, 8 << 30, None, "1.23.0", ("CPUExecutionProvider",), ("avx2", "vnni"))
    return replace(facts, **changes)


def test_what_a_worker_registers_of_its_machine():
    """Selectors can ask for each of it; what is not known is left out."""
    found = hardware().attributes(2)
    assert found["cpu.features"] == "avx2,vnni"
    assert not {"gpu.compute_capability", "gpu.driver"} & found.keys()
    assert "cpu.features" not in hardware(features=()).attributes(2)
    with_gpu = hardware(gpu=Gpu("NVIDIA L4", 24 << 30, "550.54.15", "8.9")).attributes(2)
    assert (with_gpu["gpu.compute_capability"], with_gpu["gpu.driver"]) == ("8.9", "550.54.15")
    assert parse_selector("gpu.compute_capability >= 8.0").selects(labels_of((), with_gpu))


def test_where_a_worker_is_set_outdoes_its_tags():
    """`--zone` and `--region` win over tags `zone=` and `region=`, which count where nothing is set."""

    def place(**settings):
        return WorkerSettings(_cli_parse_args=False, tags="zone=tagged,region=r,spot", **settings).place()

    host = {"host": gethostname()}
    assert place() == {"zone": "tagged", "region": "r"} | host
    assert place(zone="set") == {"zone": "set", "region": "r"} | host


def test_flags_are_those_that_all_processors_have():
    """A process may run on any of them; other lines do not matter."""
    text = "processor: 0\nflags\t\t: sse2 avx2\nmodel name: x\n\nprocessor: 1\nflags\t\t: sse2\n"
    assert cpu_flags(text) == {"sse2"}
    assert cpu_flags("Features\t: fp asimd\n") == {"fp", "asimd"}
    assert cpu_flags("nothing") == frozenset()


@pytest.mark.parametrize(
    ("line", "gpu"),
    [
        ("23034, 550.54.15, 8.9, NVIDIA L4", Gpu("NVIDIA L4", 23034 << 20, "550.54.15", "8.9")),
        ("23034, 470.82.01, NVIDIA L4", Gpu("NVIDIA L4", 23034 << 20, "470.82.01")),
        ("[N/A], 580.95.05, 12.1, NVIDIA GB10", None),
        ("No devices were found", None),
        ("", None),
    ],
)
def test_a_line_of_the_driver_names_a_gpu_or_none(line, gpu):
    """Model, memory in bytes, driver, and compute capability where the driver knows it."""
    assert parse_gpu(line) == gpu


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


@pytest.mark.parametrize(("said", "spins"), [("on", True), ("off", False)])
def test_spinning_is_what_the_operator_says(said, spins):
    """Whatever cores there are."""
    assert WorkerSettings(spinning=said).spins(1) is spins


def test_a_temporary_cache_goes_with_its_worker_and_with_the_next_one_if_it_was_killed(tmp_path):
    """One that is in use stays, and one that is just being made."""
    (tmp_path / "onnxmesh-worker-killed").mkdir()
    (tmp_path / "onnxmesh-worker-killed" / "in-use").touch()
    (tmp_path / "onnxmesh-worker-new").mkdir()
    with cache_folder(None, tmp_path) as one, cache_folder(None, tmp_path) as two:
        assert {path.name for path in tmp_path.iterdir()} == {one.name, two.name, "onnxmesh-worker-new"}
    assert {path.name for path in tmp_path.iterdir()} == {"onnxmesh-worker-new"}


def test_a_cache_of_ones_own_is_kept_and_belongs_to_one_worker_at_a_time(tmp_path):
    """A second one is refused while the first is there."""
    with cache_folder(tmp_path / "cache") as folder:
        (folder / "blob").touch()
        with pytest.raises(Conflict, match="another worker uses"), cache_folder(folder):
            pass
    with cache_folder(folder) as again:
        assert (again / "blob").exists()


def test_workers_that_share_a_cache_have_a_part_each(tmp_path):
    """No two use the same part, and a part that is free again is taken with what was left in it."""
    shared = tmp_path / "cache"
    with cache_folder(shared, shared=True) as first, cache_folder(shared, shared=True) as second:
        assert first != second
        assert first.parent == second.parent == shared
        (first / "blob").touch()
    with cache_folder(shared, shared=True) as again:
        assert again == first
        assert (again / "blob").exists()
