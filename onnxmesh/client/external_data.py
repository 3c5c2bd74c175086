"""External data files of an ONNX model: the files beside it that hold its weights.

Clients have no ONNX library, so this walks the protobuf fields of the file down to the locations of tensors. It skips all
other fields by their length, on a memory map: a model of gigabytes is read in milliseconds.

Source: the field numbers of `onnx.proto3` (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError

from onnxmesh.files.data_location import data_files
from onnxmesh.rpc.frames.varint import read_varint

_LOCATION = b"location"
_TENSOR_EXTERNAL_DATA = 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2

_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Message kind → field number → kind of the nested message; only the fields that lead to a tensor."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def external_data_files(model: Path) -> dict[str, Path]:
    """Returns the external data files of `model`: by their path relative to its folder, as `path_within` has it.

    Empty for a file that is not an ONNX model, and a location outside the model's folder is omitted: the worker
    that checks the model reports both.

    Raises:
        OSError: The model cannot be read.
    """
    if model.stat().st_size == 0:
        return {}
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            locations = _locations(data, 0, len(data), "model")
            return data_files(model.parent, (location.decode() for location in locations))
        except (DecodeError, UnicodeDecodeError):
            return {}


def _locations(data: mmap.mmap, start: int, end: int, kind: str) -> Iterator[bytes]:
    """Yields the locations of the tensors in the message at `data[start:end]`."""
    # A stack instead of recursion: a hostile file may nest deeper than Python's recursion limit.
    pending = [(start, end, kind)]
    while pending:
        start, end, kind = pending.pop()
        children = _CHILDREN[kind]
        for number, child_start, child_end in _messages(data, start, end):
            if number in children:
                pending.append((child_start, child_end, children[number]))
            elif kind == "tensor" and number == _TENSOR_EXTERNAL_DATA:
                entry = {
                    field: data[value_start:value_end]
                    for field, value_start, value_end in _messages(data, child_start, child_end)
                }
                if entry.get(_ENTRY_KEY) == _LOCATION:
                    yield entry.get(_ENTRY_VALUE, b"")


def _messages(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields number, start and end of each length-delimited field in `data[start:end]`."""
    at = start
    while at < end:
        tag, at = read_varint(data, at)
        wire_type = tag & 7
        if tag >> 3 == 0:
            raise DecodeError(f"field number 0 at byte {at}")
        if wire_type == _LENGTH:
            length, at = read_varint(data, at)
            if at + length > end:
                raise DecodeError(f"field of {length} bytes at byte {at}, but only {end - at} bytes remain")
            yield tag >> 3, at, at + length
            at += length
        elif wire_type == _VARINT:
            _, at = read_varint(data, at)
        elif wire_type == _FIXED64:
            at += 8
        elif wire_type == _FIXED32:
            at += 4
        else:
            raise DecodeError(f"wire type {wire_type} at byte {at}")
