"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

from onnxmesh.errors import InvalidRequest
from onnxmesh.files.atomic_write import write_atomically


def require_writable(option: str, path: Path) -> None:
    """Checks early that a file can be written, before long work is done for it.

    Raises:
        InvalidRequest: There is something else of that name, or no folder to put it in (INVALID_ARGUMENT).
    """
    if path.is_dir():
        raise InvalidRequest(f"{option}: '{path}' is a folder; the name of a file is expected")
    if path.exists() and not path.is_file():
        # It would be replaced: a device or a pipe is not ours to replace.
        raise InvalidRequest(f"{option}: '{path}' is no ordinary file")
    if not path.parent.is_dir():
        raise InvalidRequest(f"{option}: there is no folder '{path.parent}'")


def write_whole(option: str, path: Path, text: str) -> None:
    """Writes a file aside and renames it, so that no one ever sees a part of it.

    Raises:
        InvalidRequest: It cannot be written; nothing is left behind then (INVALID_ARGUMENT).
    """
    try:
        write_atomically(path, text)
    except OSError as error:
        raise InvalidRequest(f"{option}: cannot write '{path}': {error.strerror}") from error
