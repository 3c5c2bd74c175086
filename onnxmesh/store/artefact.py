"""Folders of blobs: how they are listed, named and checked. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from onnxmesh.errors import CorruptData, InvalidRequest
from onnxmesh.files.digests import ListedFile, checked_digest, listing_digest
from onnxmesh.ids import Digest
from onnxmesh.v1.model_pb2 import Artefact, File

MAX_FILES = 10_000
"""Files of one artefact."""

MAX_PATH_LENGTH = 1024
"""Characters of one path."""


def artefact_digest(files: Iterable[File]) -> Digest:
    """Returns the digest that names an artefact of these files, by `listing_digest`."""
    return listing_digest(ListedFile(file.path, Digest(file.sha256), file.byte_size) for file in files)


def artefact_of(files: Iterable[File]) -> Artefact:
    """Returns the artefact of `files`, which it sorts and names.

    Raises:
        InvalidRequest: A path is unsafe, or two cannot be in one folder (INVALID_ARGUMENT).
    """
    listed = sorted(files, key=lambda file: file.path)
    artefact = Artefact(digest=artefact_digest(listed), files=listed)
    check_artefact(artefact)
    return artefact


def check_path(path: str) -> None:
    """Refuses a path that could leave its folder, or that not every file system has.

    Raises:
        InvalidRequest: The path is empty, absolute, has `.`, `..`, an empty part, a backslash or a
            control character, or is too long (INVALID_ARGUMENT).
    """
    if not path:
        raise InvalidRequest("a file needs a path; it is empty")
    if len(path) > MAX_PATH_LENGTH:
        raise InvalidRequest(f"path '{path[:40]}…' has {len(path)} characters; {MAX_PATH_LENGTH} are allowed")
    if "\\" in path or not path.isprintable():
        raise InvalidRequest(f"path {path!r} has a backslash or a control character")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in path.split("/")):
        raise InvalidRequest(
            f"path '{path}' must be relative, with forward slashes, without '.', '..' or empty parts"
        )


def check_artefact(artefact: Artefact) -> None:
    """Checks everything about an artefact but its files' contents.

    Raises:
        InvalidRequest: A path or digest is malformed, or two paths cannot be in one folder (INVALID_ARGUMENT).
        CorruptData: The artefact's name is not the digest of its listing (DATA_LOSS).
    """
    if len(artefact.files) > MAX_FILES:
        raise InvalidRequest(f"an artefact has at most {MAX_FILES} files; this one has {len(artefact.files)}")
    paths: set[str] = set()
    for file in artefact.files:
        check_path(file.path)
        checked_digest(file.sha256)
        if file.path in paths:
            raise InvalidRequest(f"path '{file.path}' is there twice")
        paths.add(file.path)
    for path in paths:
        for parent in PurePosixPath(path).parents:
            if str(parent) in paths:
                raise InvalidRequest(f"path '{parent}' is a file and, in '{path}', a folder")
    if (digest := artefact_digest(artefact.files)) != artefact.digest:
        raise CorruptData(f"artefact is named {artefact.digest[:80]!r}, its listing has the digest {digest}")


def model_file(artefact: Artefact) -> File:
    """Returns the model of an artefact: its one `.onnx` file at the top level.

    Raises:
        InvalidRequest: There is none, or more than one (INVALID_ARGUMENT).
    """
    models = [file for file in artefact.files if "/" not in file.path and file.path.endswith(".onnx")]
    if len(models) != 1:
        found = ", ".join(f"'{file.path}'" for file in (models or artefact.files)[:5]) or "no file at all"
        count = "more than one" if models else "none"
        raise InvalidRequest(
            f"expected exactly one file '*.onnx' at the top level of the upload, found {count}: {found}"
        )
    return models[0]
