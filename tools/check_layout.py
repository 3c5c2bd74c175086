"""Checks the rules of `docs/architecture.md` about folders: `python -m tools.check_layout`; prints each violation.

A folder has 3 to 16 modules (one that has folders may have fewer) and a README.md of at most 15 lines; a module of the kernel is used by
two packages, or works together with others of its own, or lives with its only user; a module under 30 lines has two users; the
test of `x/y.py` is named `x/test_y.py`; rings of imports name folders, not single modules.
"""

from __future__ import annotations

import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tools.source_tree import PROGRAMS, ROOTS, Module, imported, modules

MIN_MODULES, MAX_MODULES = 3, 16
MAX_README_LINES = 15
SMALL_LINES = 30
TEST_KINDS = ("unit", "integration", "contract")
"""Folders of tests in which the test of a module may be; each mirrors the tree of the code."""

GENERATED = {Path("onnxmesh/v1"), Path("onnxmesh/oip")}
ENTRY_POINTS = {"__main__"}
PORT = "base"
"""A module that declares the port of its folder, however small."""


def violations(root: Path) -> Iterator[str]:
    """Yields a sentence for each violation, with the path first."""
    known = modules(root)
    yield from _folders(root, known)
    yield from _users(known, modules(root, PROGRAMS))
    yield from _tests(root, known)
    yield from _rings(root)


def _folders(root: Path, known: dict[str, Module]) -> Iterator[str]:
    by_folder: dict[Path, list[Module]] = defaultdict(list)
    for module in known.values():
        by_folder[module.folder].append(module)
    for folder in sorted(_code_folders(root)):
        num = len(by_folder[folder])
        has_folders = any(child.parent == folder for child in _code_folders(root))
        if num > MAX_MODULES or (num < MIN_MODULES and not has_folders):
            yield f"{folder}: expected {MIN_MODULES} to {MAX_MODULES} modules, got {num}"
        readme = root / folder / "README.md"
        if not readme.exists():
            yield f"{folder}: expected a README.md: what it is for, its nouns, what it must not import"
        elif (lines := len(readme.read_text().splitlines())) > MAX_README_LINES:
            yield f"{folder}/README.md: expected at most {MAX_README_LINES} lines, got {lines}"


def _code_folders(root: Path) -> set[Path]:
    return {
        path.parent.relative_to(root)
        for top in ROOTS
        for path in (root / top).rglob("__init__.py")
        if path.parent.relative_to(root) not in GENERATED
    }


def _users(known: dict[str, Module], programs: dict[str, Module]) -> Iterator[str]:
    users: dict[str, set[str]] = defaultdict(set)
    for module in [*known.values(), *programs.values()]:
        for name in imported(module, known):
            users[name].add(module.name)
    for name, module in known.items():
        if module.path.stem in ENTRY_POINTS:
            continue
        packages, own = {_package(user) for user in users[name]}, _package(name)
        uses = {_package(each) for each in imported(module, known)}
        if name.startswith("onnxmesh.") and len(packages) == 1 and own not in packages | uses:
            (only,) = packages
            yield f"{module.path}: used by {only} alone: expected two packages, or the module there"
        if module.num_lines < SMALL_LINES and len(users[name]) < 2 and module.path.stem != PORT:
            yield f"{module.path}: {module.num_lines} lines and {len(users[name])} users: expected two users, or its neighbour has it"


def _package(name: str) -> str:
    """Returns the package that counts as one user: a folder of the kernel, or a service."""
    parts = name.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 else parts[0]


def _tests(root: Path, known: dict[str, Module]) -> Iterator[str]:
    for module in known.values():
        if module.path.stem in ENTRY_POINTS or not module.has_code:
            continue
        inner = Path(*module.path.parts[1:]).with_name(f"test_{module.path.name}")
        if not any((root / "tests" / kind / inner).exists() for kind in TEST_KINDS):
            yield f"{module.path}: expected its test at tests/unit/{inner}"
    folders = {Path(*folder.parts[1:]) for folder in _code_folders(root)}
    for kind in TEST_KINDS[:1]:
        for folder in sorted({path.parent for path in (root / "tests" / kind).rglob("test_*.py")}):
            inner = folder.relative_to(root / "tests" / kind)
            if inner not in folders and inner.parts[:1] not in _OTHER_CODE:
                yield f"tests/{kind}/{inner}: expected a folder of the code with that path"


_OTHER_CODE = {("benchmarks",), ("docs",), ("simulate",), ("tools",), ("examples",)}
"""Folders of unit tests for what is neither in `onnxmesh` nor in `services`."""


def _rings(root: Path) -> Iterator[str]:
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    for contract in settings["tool"]["importlinter"]["contracts"]:
        for name in contract.get("source_modules", []) + contract.get("modules", []):
            if name.endswith((".*", ".**")):
                continue
            if not (root / name.replace(".", "/")).is_dir():
                yield f"pyproject.toml: contract '{contract['name']}': expected folders, got the module {name}"


def main() -> None:
    """Prints the violations; ends with 1 where there is one."""
    found = list(violations(Path.cwd()))
    print("\n".join(found) or "layout: every folder and module is where the rules put it")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
