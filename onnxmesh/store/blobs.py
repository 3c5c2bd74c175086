"""Folder of blobs: files named by the digest of their content."""

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

BLOB_CHUNK_BYTES = 1 << 20
"""Bytes of a blob that are read or sent at once."""


class BlobFolder:
    """Content-addressed files below one folder.

    A blob appears complete or not at all. All methods block; on an event loop run the long ones (`put_file`,
    `BlobWriter.write`, `chunks`) in a thread. Several processes may share a folder.

    Args:
        path: The folder; created if absent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._incoming = path / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Returns the path of a blob, whether it exists or not.

        Raises:
            InvalidRequest: `sha256` is malformed (INVALID_ARGUMENT).
        """
        digest = checked_digest(sha256)
        return self._path / digest[:2] / digest

    def has(self, sha256: str) -> bool:
        """Whether the blob is stored."""
        return self.path(sha256).is_file()

    def put_file(self, source: Path) -> tuple[Digest, int]:
        """Stores a file by a hard link, or by a copy where the file system cannot link.

        The file must not be written afterwards.

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
        """Returns a writer of a blob whose digest is not known yet."""
        return BlobWriter(self._incoming, self._adopt)

    def chunks(self, sha256: str, offset: int = 0) -> Generator[bytes, None, None]:
        """Yields the blob's bytes from `offset` on, `BLOB_CHUNK_BYTES` at a time.

        Raises:
            NotFound: The blob is not stored (NOT_FOUND).
            InvalidRequest: `offset` is beyond its end, or `sha256` is malformed (INVALID_ARGUMENT).
        """
        path = self.path(sha256)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise NotFound(f"blob {sha256} is not stored here") from None
        with file:
            size = os.fstat(file.fileno()).st_size
            if offset > size:
                raise InvalidRequest(f"offset {offset} is beyond the {size} bytes of blob {sha256}")
            file.seek(offset)
            while chunk := file.read(BLOB_CHUNK_BYTES):
                yield chunk

    def digests(self) -> set[Digest]:
        """Returns the digest of every stored blob."""
        return {Digest(path.name) for path in self._path.glob("??/*") if is_digest(path.name)}

    def remove(self, sha256: str) -> None:
        """Removes the blob, if it is stored; reads under way are not affected."""
        self.path(sha256).unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        """Removes incomplete files of earlier processes; call it before anything is written."""
        for path in self._incoming.iterdir():
            path.unlink(missing_ok=True)

    def _adopt(self, incoming: Path, digest: Digest) -> None:
        target = self.path(digest)
        target.parent.mkdir(exist_ok=True)
        incoming.replace(target)


class BlobWriter:
    """Writer of one blob, which computes its digest; made by `BlobFolder.writer`.

    Use as a context manager: without a commit the file is discarded at the end.
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
        """Returns the digest of the bytes written so far."""
        return Digest(self._hash.hexdigest())

    def restart(self) -> None:
        """Discards the bytes written so far and starts again."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self._size = 0

    def close(self) -> None:
        """Closes the file before the commit, so that many writers need no open file each."""
        self._file.close()

    def commit(self) -> tuple[Digest, int]:
        """Stores the blob by a rename; returns its digest and size."""
        self._file.close()
        digest = self.digest()
        self._adopt(self._path, digest)
        return digest, self._size

    def discard(self) -> None:
        """Removes the file; has no effect after a commit."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()
