"""Prints the messages of generated protobuf stubs as a table of facts, for tests that parse answers as other clients do.

`python -m tools.read_messages NAME=STUB_pb2.py ...` prints JSON: for each name the messages of the file, and of each field
its number, name, label, type and, for messages, the name of that type. The stubs are read as text and never imported, so
that the packages they belong to need not be installed.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

MAP_ENTRY = "map entry"
"""Marks the messages that protobuf makes for the entries of a map."""


def file_of_stub(path: Path) -> FileDescriptorProto:
    """The descriptor that a stub of protoc contains: its longest literal of bytes."""
    tree = ast.parse(path.read_text())
    literals = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes)
    ]
    return FileDescriptorProto.FromString(max(literals, key=len))


def facts(file: FileDescriptorProto) -> dict[str, list[list[object]]]:
    """Fields of each message: number, name, label, type, name of the type; entries of maps begin with `MAP_ENTRY`."""
    found: dict[str, list[list[object]]] = {}
    for name, message in _messages(file.message_type, f".{file.package}"):
        fields: list[list[object]] = [[MAP_ENTRY]] if message.options.map_entry else []
        fields += [
            [
                field.number,
                field.name,
                FieldDescriptorProto.Label.Name(field.label),
                FieldDescriptorProto.Type.Name(field.type),
                field.type_name,
            ]
            for field in message.field
        ]
        found[name] = fields
    return found


def _messages(messages: Iterable[DescriptorProto], prefix: str) -> Iterator[tuple[str, DescriptorProto]]:
    for message in messages:
        name = f"{prefix}.{message.name}"
        yield name, message
        yield from _messages(message.nested_type, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stubs", nargs="+", metavar="NAME=STUB_pb2.py")
    given = dict(stub.split("=", 1) for stub in parser.parse_args().stubs)
    lines = []
    for name, path in given.items():
        messages = [
            f"  {json.dumps(message)}: [\n"
            + ",\n".join(f"   {json.dumps(field)}" for field in fields)
            + "\n  ]"
            for message, fields in facts(file_of_stub(Path(path))).items()
        ]
        lines.append(f" {json.dumps(name)}: {{\n" + ",\n".join(messages) + "\n }")
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
