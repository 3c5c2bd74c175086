"""Content digests of files and of folders of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from onnxmesh.graph.files.file_ranges import pieces
from onnxmesh.ids import Digest
from onnxmesh.model.partition import PartitionFile


def file_digest(path: Path) -> Digest:
    """Returns the SHA-256 of a file, read in large pieces.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        for piece in pieces(file.fileno(), 0, os.fstat(file.fileno()).st_size):
            digest.update(piece)
    return Digest(digest.hexdigest())


def describe_file(folder: Path, path: str) -> PartitionFile:
    """Returns name, digest and size of the file at `path` (forward slashes) in `folder`.

    Raises:
        OSError: The file cannot be read.
    """
    file = folder / path
    return PartitionFile(path, file_digest(file), file.stat().st_size)


def describe_files(folder: Path, paths: Sequence[str]) -> list[PartitionFile]:
    """Returns `describe_file` of each, in as many threads as there are processors: hashing lets go of the interpreter.

    Raises:
        OSError: A file cannot be read.
    """
    with ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, len(paths)))) as pool:
        return list(pool.map(lambda path: describe_file(folder, path), paths))


def listing_digest(files: Iterable[PartitionFile]) -> Digest:
    """Returns the SHA-256 over a listing of files, which names their content as one.

    The listing has a line `<sha256> <size> <path>` for each file, sorted by path: no time, owner or place
    is in it, so equal content has an equal digest on every machine.
    """
    listing = "".join(
        f"{file.sha256} {file.num_bytes} {file.path}\n" for file in sorted(files, key=lambda file: file.path)
    )
    return Digest(hashlib.sha256(listing.encode()).hexdigest())
