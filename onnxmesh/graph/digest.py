"""Content digests of files and of folders of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from onnxmesh.ids import Digest
from onnxmesh.planning.partition import PartitionFile


def file_digest(path: Path) -> Digest:
    """Returns the SHA-256 of a file, read in pieces.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def describe_file(folder: Path, path: str) -> PartitionFile:
    """Returns name, digest and size of the file at `path` (forward slashes) in `folder`.

    Raises:
        OSError: The file cannot be read.
    """
    file = folder / path
    return PartitionFile(path, file_digest(file), file.stat().st_size)


def listing_digest(files: Iterable[PartitionFile]) -> Digest:
    """Returns the SHA-256 over a listing of files, which names their content as one.

    The listing has a line `<sha256> <size> <path>` for each file, sorted by path: no time, owner or place
    is in it, so equal content has an equal digest on every machine.
    """
    listing = "".join(
        f"{file.sha256} {file.num_bytes} {file.path}\n" for file in sorted(files, key=lambda file: file.path)
    )
    return Digest(hashlib.sha256(listing.encode()).hexdigest())
