"""Locations of external data: the text in a model that names a file beside it, and that file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

_DRIVE = re.compile(r"[A-Za-z]:/")
_MEMORY = "*/_ORT_MEM_ADDR_/*"
"""ONNX Runtime reads the offset of a tensor at this location as an address in its own memory."""


def path_within(location: str) -> PurePosixPath | None:
    r"""Returns the path below the model's folder that a location names; None if it is not below that folder.

    A backslash separates folders as a slash does, since models that were exported on Windows have it. `.` and `..` are
    resolved: `./w` and `a/../w` are `w`. A colon is an ordinary character, except after a drive letter (`C:\w`).
    """
    text = location.replace("\\", "/")
    if text.startswith("/") or _DRIVE.match(text) or location == _MEMORY:
        return None
    path = posixpath.normpath(text) if text else "."
    if path in {".", ".."} or path.startswith("../"):
        return None
    return PurePosixPath(path)


def data_file(folder: Path, location: str) -> Path | None:
    """Returns the file that a location names, which may be missing; None if it is not below the model's folder.

    A file whose own name has the location's backslashes takes precedence.

    Args:
        folder: The model's folder.
        location: As the model declares it.
    """
    path = path_within(location)
    if path is None:
        return None
    if "\\" in location and ".." not in location.split("/") and (folder / location).is_file():
        return folder / location
    return folder / path


def data_files(folder: Path, locations: Iterable[str]) -> dict[str, Path]:
    """Returns the files that locations name, by their path below the folder as `path_within` has it.

    A location that is not below the folder is omitted.

    Args:
        folder: The model's folder.
        locations: As the model declares them.
    """
    files: dict[str, Path] = {}
    for location in locations:
        name, path = path_within(location), data_file(folder, location)
        if name is not None and path is not None:
            files[str(name)] = path
    return files
