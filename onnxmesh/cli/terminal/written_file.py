"""Files that commands write: checked early, written atomically."""

from __future__ import annotations

from pathlib import Path

from onnxmesh.errors import InvalidRequest
from onnxmesh.files.atomic_write import write_atomically


def require_writable(option: str, path: Path) -> None:
    """Checks that a file can be written, before long work is done for it.

    Raises:
        InvalidRequest: The path is not a regular file, or its folder does not exist (INVALID_ARGUMENT).
    """
    if path.is_dir():
        raise InvalidRequest(f"{option}: '{path}' is a folder; the name of a file is expected")
    if path.exists() and not path.is_file():
        # A device or a pipe must not be replaced by a file.
        raise InvalidRequest(f"{option}: '{path}' is no ordinary file")
    if not path.parent.is_dir():
        raise InvalidRequest(f"{option}: there is no folder '{path.parent}'")


def write_whole(option: str, path: Path, text: str) -> None:
    """Writes a file atomically: readers see the old content or the new one.

    Raises:
        InvalidRequest: It cannot be written; no partial file remains (INVALID_ARGUMENT).
    """
    try:
        write_atomically(path, text)
    except OSError as error:
        raise InvalidRequest(f"{option}: cannot write '{path}': {error.strerror}") from error
