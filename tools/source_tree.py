"""The Python modules of this project and what they import, read from their sources without importing them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOTS = ("onnxmesh", "services")
"""Packages that hold the project's code."""

PROGRAMS = ("benchmarks", "examples", "tools")
"""Packages that use it, beside the tests."""


@dataclass(frozen=True)
class Module:
    """One module.

    Attributes:
        name: Dotted, as `onnxmesh.graph.reading.node_order`.
        path: Its file, relative to the repository.
        text: Its source.
    """

    name: str
    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @property
    def num_lines(self) -> int:
        return len(self.text.splitlines())

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def has_code(self) -> bool:
        """Whether a function or method of it computes something; dataclasses, Protocols, enums and constants do not."""
        return any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_declaration(node)
            for node in ast.walk(self.tree)
        )

    def public_definitions(self) -> Iterator[tuple[str, int]]:
        """Yields the public classes and functions at the top level, each with its line."""
        for node in self.tree.body:
            is_definition = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if is_definition and not node.name.startswith("_"):
                yield node.name, node.lineno


def modules(root: Path, tops: Iterable[str] = ROOTS) -> dict[str, Module]:
    """Returns the modules under some packages by name, without packages' `__init__` and without generated stubs."""
    found = {}
    for top in tops:
        for path in sorted((root / top).rglob("*.py")):
            if "_pb2" not in path.name and path.name != "__init__.py":
                name = ".".join(path.relative_to(root).with_suffix("").parts)
                found[name] = Module(name, path.relative_to(root), path.read_text())
    return found


def imported(module: Module, known: dict[str, Module]) -> set[str]:
    """Returns the names of known modules that a module imports."""
    names = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return (names & known.keys()) - {module.name}


def _is_declaration(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a body is a docstring, `...` or nothing."""
    return all(
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in function.body
    )
