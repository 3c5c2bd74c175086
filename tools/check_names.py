"""Checks the rules about names: `python -m tools.check_names`; prints each violation.

No public class or function is defined twice in the code, no name has a word that `docs/glossary.md` replaces, and a constructor has at most
8 arguments, named from the fourth on.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.source_tree import Module, modules

ENTRY_POINT = "main"
MAX_ARGUMENTS, MAX_UNNAMED = 8, 3
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_REPLACED = re.compile(r"^\| ([a-z, ]+) \| ", re.M)
_SECTION = "## Words that are not used"


def violations(root: Path) -> Iterator[str]:
    """Yields a sentence for each violation, with the place first."""
    known = modules(root)
    yield from _twice(known.values())
    words = replaced_words((root / "docs/glossary.md").read_text())
    for module in known.values():
        yield from _long_constructors(module)
        for name, line in sorted(_names(module.tree)):
            for word in sorted(words & {part.lower() for part in _WORD.findall(name)}):
                yield f"{module.path}:{line}: '{name}' has the word '{word}': docs/glossary.md names the field's"


def replaced_words(glossary: str) -> frozenset[str]:
    """Returns the words in the first column of the glossary's table of words that are not used."""
    table = glossary.partition(_SECTION)[2]
    return frozenset(word.strip() for row in _REPLACED.findall(table) for word in row.split(",")) - {
        "instead of"
    }


def _twice(known: Iterable[Module]) -> Iterator[str]:
    places: dict[str, list[str]] = defaultdict(list)
    for module in known:
        for name, line in module.public_definitions():
            places[name].append(f"{module.path}:{line}")
    for name, where in sorted(places.items()):
        if len(where) > 1 and name != ENTRY_POINT:
            yield f"{where[0]}: '{name}' is defined in {', '.join(where[1:])} too: expected one definition"


def _long_constructors(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            unnamed = len(node.args.posonlyargs) + len(node.args.args) - 1
            total = unnamed + len(node.args.kwonlyargs)
            if total > MAX_ARGUMENTS or unnamed > MAX_UNNAMED:
                yield (
                    f"{module.path}:{node.lineno}: a constructor has {total} arguments, {unnamed} of them by position: "
                    f"expected at most {MAX_ARGUMENTS}, and {MAX_UNNAMED}"
                )


def _names(tree: ast.Module) -> set[tuple[str, int]]:
    """Returns the names that a module gives to something: definitions, arguments, variables and attributes, with their lines."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add((node.name, node.lineno))
        elif isinstance(node, ast.arg):
            names.add((node.arg, node.lineno))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add((node.id, node.lineno))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add((node.attr, node.lineno))
    return names


def main() -> None:
    """Prints the violations; ends with 1 where there is one."""
    found = list(violations(Path.cwd()))
    print("\n".join(found) or "names: one definition for each, in the words of the glossary")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
