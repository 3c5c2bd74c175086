"""SHA-256 digests of files, and of listings that name the content of a whole folder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from onnxmesh.errors import InvalidRequest
from onnxmesh.files.file_ranges import read_chunks
from onnxmesh.ids import Digest

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of a folder, with its content named by a digest.

    Attributes:
        path: Relative to the folder, with forward slashes.
        sha256: Lower-case hexadecimal digest of the content.
        num_bytes: Size of the content.
    """

    path: str
    sha256: Digest
    num_bytes: int


def is_digest(text: str) -> bool:
    """Whether `text` is 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def checked_digest(sha256: str) -> Digest:
    """Returns a digest that a peer sent, after a check of its form.

    Raises:
        InvalidRequest: It is not 64 lower-case hexadecimal digits, so it may be a path in disguise
            (INVALID_ARGUMENT).
    """
    if not is_digest(sha256):
        raise InvalidRequest(f"expected a SHA-256 as 64 lower-case hexadecimal digits, got {sha256[:80]!r}")
    return Digest(sha256)


def file_digest(path: Path) -> Digest:
    """Returns the SHA-256 of a file, read in large chunks.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        for chunk in read_chunks(file.fileno(), 0, os.fstat(file.fileno()).st_size):
            digest.update(chunk)
    return Digest(digest.hexdigest())


def describe_file(folder: Path, path: str) -> ListedFile:
    """Returns path, digest and size of the file at `path` (forward slashes) in `folder`.

    Raises:
        OSError: The file cannot be read.
    """
    file = folder / path
    return ListedFile(path, file_digest(file), file.stat().st_size)


def describe_files(files: Mapping[str, Path]) -> list[ListedFile]:
    """Returns path, digest and size of each file, in as many threads as there are processors: hashing releases the GIL.

    Args:
        files: By the path that each is listed under.

    Raises:
        OSError: A file cannot be read.
    """
    with ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, len(files)))) as pool:
        return list(pool.map(_describe, files.items()))


def _describe(named: tuple[str, Path]) -> ListedFile:
    path, file = named
    return ListedFile(path, file_digest(file), file.stat().st_size)


def listing_digest(files: Iterable[ListedFile]) -> Digest:
    """Returns the SHA-256 over a listing of files, which identifies their content as a whole.

    The listing has a line `<sha256> <size> <path>` for each file, sorted by path. It has no time, owner or
    location, so equal content has an equal digest on every machine.
    """
    listing = "".join(
        f"{file.sha256} {file.num_bytes} {file.path}\n" for file in sorted(files, key=lambda file: file.path)
    )
    return Digest(hashlib.sha256(listing.encode()).hexdigest())
