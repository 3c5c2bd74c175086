"""A folder of files named by the digest of their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import Self

from onnxmesh.errors import InvalidRequest, NotFound
from onnxmesh.files.digests import checked_digest, file_digest, is_digest
from onnxmesh.files.file_ranges import link_or_copy
from onnxmesh.ids import Digest

PIECE_BYTES = 1 << 20
"""How much of a file is read or sent at once."""


class BlobFolder:
    """Content-addressed files below one folder.

    A file appears under its digest complete or not at all. All methods block; on an event loop run
    the long ones (`put_file`, `BlobWriter.write`, `pieces`) in a thread. Several processes may share a folder.

    Args:
        path: Made if absent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._incoming = path / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Returns where the blob is, or would be.

        Raises:
            InvalidRequest: `sha256` is malformed (INVALID_ARGUMENT).
        """
        digest = checked_digest(sha256)
        return self._path / digest[:2] / digest

    def has(self, sha256: str) -> bool:
        """Whether the blob is here, whole."""
        return self.path(sha256).is_file()

    def put_file(self, source: Path) -> tuple[Digest, int]:
        """Takes in a file by hard link, or by copy where the file system cannot link.

        The file must not be written to afterwards.

        Returns:
            Digest and size in bytes.
        """
        handle, name = tempfile.mkstemp(dir=self._incoming)
        os.close(handle)
        incoming = Path(name)
        try:
            incoming.unlink()
            link_or_copy(source, incoming)
            digest = file_digest(incoming)
            size = incoming.stat().st_size
            self._adopt(incoming, digest)
        finally:
            incoming.unlink(missing_ok=True)
        return digest, size

    def writer(self) -> BlobWriter:
        """Returns a writer for a blob whose digest is not known yet."""
        return BlobWriter(self._incoming, self._adopt)

    def pieces(self, sha256: str, offset: int = 0) -> Generator[bytes, None, None]:
        """Yields the blob's bytes from `offset` on, `PIECE_BYTES` at a time.

        Raises:
            NotFound: The blob is not here (NOT_FOUND).
            InvalidRequest: `offset` is beyond its end, or `sha256` is malformed (INVALID_ARGUMENT).
        """
        path = self.path(sha256)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise NotFound(f"blob {sha256} is not held here") from None
        with file:
            size = os.fstat(file.fileno()).st_size
            if offset > size:
                raise InvalidRequest(f"offset {offset} is beyond the {size} bytes of blob {sha256}")
            file.seek(offset)
            while piece := file.read(PIECE_BYTES):
                yield piece

    def digests(self) -> set[Digest]:
        """Returns the digest of every blob held."""
        return {Digest(path.name) for path in self._path.glob("??/*") if is_digest(path.name)}

    def remove(self, sha256: str) -> None:
        """Removes the blob, if it is here; those who read it read on."""
        self.path(sha256).unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        """Removes what earlier processes left half-written; call it before anything writes."""
        for path in self._incoming.iterdir():
            path.unlink(missing_ok=True)

    def _adopt(self, incoming: Path, digest: Digest) -> None:
        target = self.path(digest)
        target.parent.mkdir(exist_ok=True)
        incoming.replace(target)


class BlobWriter:
    """Writes one blob and hashes it on the way; made by `BlobFolder.writer`.

    Use as a context manager: what was not committed is discarded at the end.
    """

    def __init__(self, incoming: Path, adopt: Callable[[Path, Digest], None]) -> None:
        handle, name = tempfile.mkstemp(dir=incoming)
        self._path = Path(name)
        self._file = os.fdopen(handle, "wb", buffering=0)
        self._adopt = adopt
        self._hash = hashlib.sha256()
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    def write(self, data: bytes) -> None:
        """Appends `data`."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._hash.update(data)
        self._size += len(data)

    def digest(self) -> Digest:
        """Returns the digest of what was written so far."""
        return Digest(self._hash.hexdigest())

    def restart(self) -> None:
        """Forgets what was written."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self._size = 0

    def close(self) -> None:
        """Ends the writing, so that many blobs can await their commit without an open file each."""
        self._file.close()

    def commit(self) -> tuple[Digest, int]:
        """Makes the blob appear, by a rename; returns its digest and size."""
        self._file.close()
        digest = self.digest()
        self._adopt(self._path, digest)
        return digest, self._size

    def discard(self) -> None:
        """Removes what was not committed; harmless after a commit."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()
