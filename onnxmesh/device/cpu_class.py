"""CPU classes: CPUs of one class run the same kernels. Pure.

ONNX Runtime's MLAS selects kernels by CPU features. Two CPUs of one class have all features in common that it
considers, hence the same block size of NCHWc layouts and the same order of additions.

Source: onnxruntime/core/mlas/lib/platform.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable

_X86_WIDTHS = (
    ("avx512", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}),
    ("avx512f", {"avx512f"}),
    ("avx2", {"avx2", "fma"}),
    ("avx", {"avx"}),
    ("sse41", {"sse4_1"}),
)
_X86_EXTRAS = (
    ("vnni", {"avx512_vnni"}),
    ("avxvnni", {"avx_vnni"}),
    ("avxvnniint8", {"avx_vnni_int8"}),
    ("bf16", {"avx512_bf16"}),
    ("amx", {"amx_tile", "amx_int8"}),
)
_ARM_EXTRAS = (
    ("fp16", {"asimdhp"}),
    ("dotprod", {"asimddp"}),
    ("i8mm", {"i8mm"}),
    ("bf16", {"bf16"}),
    ("sve", {"sve"}),
    ("sme", {"sme"}),
)
_X86_FEATURES = (
    ("avx2", {"avx2"}),
    ("avx512", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}),
    ("vnni", {"avx512_vnni"}),
    ("vnni", {"avx_vnni"}),
    ("amx", {"amx_tile", "amx_int8"}),
)
_ARM_FEATURES = (("neon", {"asimd"}), ("sve", {"sve"}))


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """Returns the flags that all processors in the text of `/proc/cpuinfo` have."""
    lists = [
        frozenset(line.partition(":")[2].split())
        for line in cpuinfo.splitlines()
        if line.partition(":")[0].strip() in {"flags", "Features"}
    ]
    return frozenset.intersection(*lists) if lists else frozenset()


def cpu_class(machine: str, flags: Iterable[str]) -> str:
    """Returns the name of a CPU's class: architecture, widest vectors, and further features that select kernels.

    Args:
        machine: Result of `platform.machine()`.
        flags: Flags of the CPU; empty where unknown, which is a class of its own.
    """
    have = set(flags)
    architecture = machine.lower() or "unknown"
    if not have:
        return f"{architecture}-unknown"
    if architecture in {"aarch64", "arm64"}:
        return "-".join(["aarch64", "neon", *_names(_ARM_EXTRAS, have)])
    if architecture in {"x86_64", "amd64"}:
        widest = next(iter(_names(_X86_WIDTHS, have)), "sse2")
        return "-".join(["x86_64", widest, *_names(_X86_EXTRAS, have)])
    return f"{architecture}-unknown"


def cpu_features(machine: str, flags: Iterable[str]) -> tuple[str, ...]:
    """Returns the instruction sets that users select workers by: `avx2`, `avx512`, `vnni`, `amx`; `neon`, `sve`.

    Args:
        machine: Result of `platform.machine()`.
        flags: Flags of the CPU.
    """
    architecture, have = machine.lower(), set(flags)
    if architecture in {"aarch64", "arm64"}:
        return tuple(_names(_ARM_FEATURES, have))
    if architecture in {"x86_64", "amd64"}:
        return tuple(dict.fromkeys(_names(_X86_FEATURES, have)))
    return ()


def _names(table: Iterable[tuple[str, set[str]]], have: set[str]) -> list[str]:
    return [name for name, needed in table if needed <= have]
