"""Reads a devices file into a cluster, or reports its errors in one line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from onnxmesh.cli.devices_file.field_errors import FieldError, field_errors, name_errors, path_text
from onnxmesh.cli.devices_file.marked_yaml import MarkedYaml, read_marked
from onnxmesh.cli.devices_file.schema import DevicesFields
from onnxmesh.errors import InvalidRequest
from onnxmesh.model.cluster import Cluster

_MAX_REPORTED = 3


def read_devices(path: Path) -> Cluster:
    """Reads a devices file.

    Args:
        path: The file; `docs/planning.md` documents its fields.

    Raises:
        InvalidRequest: The file cannot be read, is not YAML, or has a wrong field (INVALID_ARGUMENT). The
            message names file, line and field, what was expected and what was found.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InvalidRequest(f"--devices: cannot read '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InvalidRequest(f"{path}, line {line}: not YAML: not UTF-8 text") from error
    return parse_devices(text, str(path))


def parse_devices(text: str, name: str) -> Cluster:
    """Returns the cluster that a devices file describes.

    Args:
        text: The content of the file.
        name: Name of the file, for messages.

    Raises:
        InvalidRequest: As `read_devices` (INVALID_ARGUMENT).
    """
    marked = read_marked(text, name)
    if not isinstance(marked.content, dict):
        what = "the file is empty" if marked.content is None else "found a list or a single value"
        raise InvalidRequest(f"{name}, line {marked.line(())}: expected fields such as 'kinds:', but {what}")
    try:
        devices = DevicesFields.model_validate(marked.content)
    except ValidationError as error:
        raise _error_line(name, marked, field_errors(error)) from error
    names = list(name_errors(devices))
    if names:
        raise _error_line(name, marked, names)
    return devices.to_cluster()


def _error_line(name: str, marked: MarkedYaml, errors: Iterable[FieldError]) -> InvalidRequest:
    """Returns one line for all errors, in the order of the file."""
    found = sorted((marked.line(error.path), path_text(error.path), error.text) for error in errors)
    lines = [
        f"line {line}: {field}: {text}" if field else f"line {line}: {text}" for line, field, text in found
    ]
    more = f"; and {len(lines) - _MAX_REPORTED} more" if len(lines) > _MAX_REPORTED else ""
    return InvalidRequest(f"{name}, " + "; ".join(lines[:_MAX_REPORTED]) + more)
