"""CPU classes and features."""

from __future__ import annotations

import pytest

from onnxmesh.device.cpu_class import cpu_class, cpu_features, cpu_flags

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
def test_cpu_class_names_what_kernels_are_chosen_by(machine, flags, expected):
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


def test_flags_are_those_that_all_processors_have():
    """A process may run on any of them; other lines do not matter."""
    text = "processor: 0\nflags\t\t: sse2 avx2\nmodel name: x\n\nprocessor: 1\nflags\t\t: sse2\n"
    assert cpu_flags(text) == {"sse2"}
    assert cpu_flags("Features\t: fp asimd\n") == {"fp", "asimd"}
    assert cpu_flags("nothing") == frozenset()
