"""Artefacts: folders of blobs, named by the digest of their listing. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from onnxmesh.error_text import listed
from onnxmesh.errors import CorruptData, InvalidRequest
from onnxmesh.files.digests import ListedFile, checked_digest, listing_digest
from onnxmesh.ids import Digest
from onnxmesh.v1.model_pb2 import Artefact, File

MAX_FILES = 10_000
"""Most files of one artefact."""

MAX_PATH_LENGTH = 1024
"""Most characters of one path."""


def artefact_digest(files: Iterable[File]) -> Digest:
    """Returns the digest that names an artefact of these files, by `listing_digest`."""
    return listing_digest(ListedFile(file.path, Digest(file.sha256), file.byte_size) for file in files)


def artefact_of(files: Iterable[File]) -> Artefact:
    """Returns the artefact of `files`, sorted by path.

    Raises:
        InvalidRequest: A path is unsafe, or two paths cannot be in one folder (INVALID_ARGUMENT).
    """
    listed = sorted(files, key=lambda file: file.path)
    artefact = Artefact(digest=artefact_digest(listed), files=listed)
    check_artefact(artefact)
    return artefact


def check_path(path: str) -> None:
    """Checks that a path stays inside its folder and is valid on every file system.

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
    """Checks the listing and the digest of an artefact, but not the content of its files.

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
            raise InvalidRequest(f"path '{file.path}' is listed twice")
        paths.add(file.path)
    for path in paths:
        for parent in PurePosixPath(path).parents:
            if str(parent) in paths:
                raise InvalidRequest(f"path '{parent}' is a file and, in '{path}', a folder")
    if (digest := artefact_digest(artefact.files)) != artefact.digest:
        raise CorruptData(f"artefact is named {artefact.digest[:80]!r}, its listing has the digest {digest}")


def model_file(artefact: Artefact) -> File:
    """Returns the model of an artefact: its only `.onnx` file at the top level.

    Raises:
        InvalidRequest: There is none, or more than one (INVALID_ARGUMENT).
    """
    models = [file for file in artefact.files if "/" not in file.path and file.path.endswith(".onnx")]
    if len(models) != 1:
        found = listed((file.path for file in (models or artefact.files)), none="no file at all")
        count = "more than one" if models else "none"
        raise InvalidRequest(
            f"expected exactly one file '*.onnx' at the top level of the upload, found {count}: {found}"
        )
    return models[0]
