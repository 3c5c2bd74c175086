"""YAML whose every field knows the line that it stands on."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from onnxmesh.errors import InvalidRequest

Place = tuple[str | int, ...]
"""The way to a field from the top: keys of mappings and positions in lists."""

_MAX_FIELDS = 100_000
"""Aliases can make a short file huge."""


@dataclass(frozen=True, slots=True)
class MarkedYaml:
    """What a YAML text says.

    Attributes:
        content: Plain values: dict, list, str, int, float, bool, None.
        lines: From 1, by place.
    """

    content: Any
    lines: Mapping[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """Returns the line of a field, or that of what it ought to be in where it is not there."""
        for length in range(len(place), -1, -1):
            if place[:length] in self.lines:
                return self.lines[place[:length]]
        return 1


def read_marked(text: str, name: str) -> MarkedYaml:
    """Reads one YAML document.

    Args:
        text: The document.
        name: Of the file, for messages.

    Raises:
        InvalidRequest: It is not YAML, is several documents, has a key twice or a tag that makes objects
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
    """Reads `1e9` as a number, as YAML 1.2 does; PyYAML alone takes it for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


class _Walk:
    """Turns nodes into plain values, and notes where they stood."""

    def __init__(self, loader: _Loader, name: str) -> None:
        self._loader = loader
        self._name = name
        self._lines: dict[Place, int] = {}
        self._above: set[int] = set()

    def walk(self, node: yaml.Node) -> MarkedYaml:
        self._note((), node)
        return MarkedYaml(self._value(node, ()), self._lines)

    def _note(self, place: Place, node: yaml.Node) -> None:
        if len(self._lines) >= _MAX_FIELDS:
            raise self._wrong(node, f"more than {_MAX_FIELDS} fields")
        self._lines[place] = node.start_mark.line + 1

    def _value(self, node: yaml.Node, place: Place) -> Any:
        if isinstance(node, yaml.ScalarNode):
            try:
                return self._loader.construct_object(node)
            except ValueError as error:
                raise self._wrong(node, f"not YAML: {error}") from error
        if id(node) in self._above:
            raise self._wrong(node, "it contains itself")
        self._above.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._item(item, (*place, position)) for position, item in enumerate(node.value)]
            return self._fields(node, place)
        finally:
            self._above.discard(id(node))

    def _item(self, node: yaml.Node, place: Place) -> Any:
        self._note(place, node)
        return self._value(node, place)

    def _fields(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._value(key_node, place) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, Hashable) or key is None:
                raise self._wrong(key_node, "a field's name is expected before the colon")
            if str(key) in fields:
                raise self._wrong(key_node, f"'{key}' is given twice")
            self._note((*place, str(key)), key_node)
            fields[str(key)] = self._value(value_node, (*place, str(key)))
        return fields

    def _wrong(self, node: yaml.Node, problem: str) -> InvalidRequest:
        return InvalidRequest(f"{self._name}, line {node.start_mark.line + 1}: {problem}")
