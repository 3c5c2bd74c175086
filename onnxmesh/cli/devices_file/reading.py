"""From a devices file to a cluster, or to one line that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from onnxmesh.cli.devices_file.marked_yaml import MarkedYaml, read_marked
from onnxmesh.cli.devices_file.mistakes import Mistake, mistaken_names, mistakes_of, path_of
from onnxmesh.cli.devices_file.schema import DevicesFields
from onnxmesh.errors import InvalidRequest
from onnxmesh.model.cluster import Cluster

_MOST_TOLD = 3


def read_devices(path: Path) -> Cluster:
    """Reads a devices file.

    Args:
        path: Of the file; `docs/planning.md` documents its fields.

    Raises:
        InvalidRequest: There is no such file, it is not YAML, or a field is wrong (INVALID_ARGUMENT). The
            message names file, line and field, what was expected and what came.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InvalidRequest(f"--devices: cannot read '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InvalidRequest(f"{path}, line {line}: not YAML: not UTF-8 text") from error
    return cluster_of(text, str(path))


def cluster_of(text: str, name: str) -> Cluster:
    """Returns the cluster that a devices file describes.

    Args:
        text: What the file says.
        name: Of the file, for messages.

    Raises:
        InvalidRequest: As `read_devices` does (INVALID_ARGUMENT).
    """
    marked = read_marked(text, name)
    if not isinstance(marked.content, dict):
        what = "it is empty" if marked.content is None else "a list or a value stands alone there"
        raise InvalidRequest(f"{name}, line {marked.line(())}: expected fields such as 'kinds:', but {what}")
    try:
        devices = DevicesFields.model_validate(marked.content)
    except ValidationError as error:
        raise _complaint(name, marked, mistakes_of(error)) from error
    names = list(mistaken_names(devices))
    if names:
        raise _complaint(name, marked, names)
    return devices.to_cluster()


def _complaint(name: str, marked: MarkedYaml, mistakes: Iterable[Mistake]) -> InvalidRequest:
    """One line for all mistakes, in the order of the file."""
    found = sorted((marked.line(mistake.place), path_of(mistake.place), mistake.text) for mistake in mistakes)
    told = [
        f"line {line}: {field}: {text}" if field else f"line {line}: {text}" for line, field, text in found
    ]
    more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return InvalidRequest(f"{name}, " + "; ".join(told[:_MOST_TOLD]) + more)
