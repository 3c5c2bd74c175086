"""YAML documents with the line number of each field."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from onnxmesh.errors import InvalidRequest

FieldPath = tuple[str | int, ...]
"""The path of a field from the root: keys of mappings and positions in lists."""

_MAX_FIELDS = 100_000
"""Aliases can expand a short file without limit."""


@dataclass(frozen=True, slots=True)
class MarkedYaml:
    """The content of a YAML document.

    Attributes:
        content: Plain values: dict, list, str, int, float, bool, None.
        lines: Line numbers from 1, by path.
    """

    content: Any
    lines: Mapping[FieldPath, int] = field(default_factory=dict)

    def line(self, path: FieldPath) -> int:
        """Returns the line of a field, or that of its nearest existing parent."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1


def read_marked(text: str, name: str) -> MarkedYaml:
    """Reads one YAML document.

    Args:
        text: The document.
        name: Name of the file, for messages.

    Raises:
        InvalidRequest: It is not one YAML document, or has a duplicate key or a tag that constructs objects
            (INVALID_ARGUMENT). The message names the line.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return MarkedYaml(None)
        return _Walk(loader, name).walk(node)
    except RecursionError as error:
        raise InvalidRequest(f"{name}: lists and fields are nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = error.problem or error.context or "it cannot be read"
        raise InvalidRequest(f"{name}, line {line}: not YAML: {problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"character {error.character!r}: {error.reason}"
        raise InvalidRequest(f"{name}, line {line}: not YAML: {problem}") from error


class _Loader(yaml.SafeLoader):
    """Reads `1e9` as a number, as YAML 1.2 does; plain PyYAML reads it as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


class _Walk:
    """Converts nodes to plain values and records their lines."""

    def __init__(self, loader: _Loader, name: str) -> None:
        self._loader = loader
        self._name = name
        self._lines: dict[FieldPath, int] = {}
        self._above: set[int] = set()

    def walk(self, node: yaml.Node) -> MarkedYaml:
        self._record_line((), node)
        return MarkedYaml(self._value(node, ()), self._lines)

    def _record_line(self, path: FieldPath, node: yaml.Node) -> None:
        if len(self._lines) >= _MAX_FIELDS:
            raise self._error(node, f"more than {_MAX_FIELDS} fields")
        self._lines[path] = node.start_mark.line + 1

    def _value(self, node: yaml.Node, path: FieldPath) -> Any:
        if isinstance(node, yaml.ScalarNode):
            try:
                return self._loader.construct_object(node)
            except ValueError as error:
                raise self._error(node, f"not YAML: {error}") from error
        if id(node) in self._above:
            raise self._error(node, "it contains itself")
        self._above.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._item(item, (*path, position)) for position, item in enumerate(node.value)]
            return self._fields(node, path)
        finally:
            self._above.discard(id(node))

    def _item(self, node: yaml.Node, path: FieldPath) -> Any:
        self._record_line(path, node)
        return self._value(node, path)

    def _fields(self, node: yaml.Node, path: FieldPath) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._value(key_node, path) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, Hashable) or key is None:
                raise self._error(key_node, "a field's name is expected before the colon")
            if str(key) in fields:
                raise self._error(key_node, f"'{key}' is given twice")
            self._record_line((*path, str(key)), key_node)
            fields[str(key)] = self._value(value_node, (*path, str(key)))
        return fields

    def _error(self, node: yaml.Node, problem: str) -> InvalidRequest:
        return InvalidRequest(f"{self._name}, line {node.start_mark.line + 1}: {problem}")
