"""Retention of blobs: kept while at least one holder needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from onnxmesh.ids import Digest
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.model_pb2 import Artefact


class Retention:
    """Counts the holds on every blob and removes a blob with its last hold. For one event loop.

    Hold an artefact before its blobs are written, so that a release elsewhere does not remove them.

    Args:
        blobs: The folder, which nothing else removes from.
    """

    def __init__(self, blobs: BlobFolder) -> None:
        self._blobs = blobs
        self._holds: Counter[str] = Counter()

    def hold(self, artefact: Artefact) -> None:
        """Keeps the artefact's blobs until `release`."""
        self._holds.update(file.sha256 for file in artefact.files)

    def release(self, artefact: Artefact) -> None:
        """Ends one `hold`; blobs without another hold are removed."""
        self._holds.subtract(file.sha256 for file in artefact.files)
        for file in artefact.files:
            if self._holds[file.sha256] <= 0:
                del self._holds[file.sha256]
                self._blobs.remove(file.sha256)

    def detach(self, artefact: Artefact) -> None:
        """Ends one `hold`, and leaves blobs without another hold where they are."""
        self._holds.subtract(file.sha256 for file in artefact.files)
        for file in artefact.files:
            if self._holds[file.sha256] <= 0:
                del self._holds[file.sha256]

    @contextmanager
    def scope(self) -> Iterator[Scope]:
        """Yields a scope whose holds end with the context."""
        scope = Scope(self)
        try:
            yield scope
        finally:
            scope.release()

    def holds(self, digest: Digest) -> bool:
        """Whether a blob is held."""
        return digest in self._holds

    def unheld(self) -> set[Digest]:
        """Returns the blobs in the folder that are not held."""
        return {digest for digest in self._blobs.digests() if digest not in self._holds}


class Scope:
    """Holds on blobs that end together."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._held: list[Artefact] = []

    def hold(self, artefact: Artefact) -> None:
        """Keeps the artefact's blobs until the scope ends."""
        self._retention.hold(artefact)
        self._held.append(artefact)

    def release(self) -> None:
        """Ends every hold of the scope."""
        while self._held:
            self._retention.release(self._held.pop())


async def remove_unheld(blobs: BlobFolder, retention: Retention) -> None:
    """Removes the blobs that are not held."""
    for digest in await in_thread(retention.unheld):
        if not retention.holds(digest):
            blobs.remove(digest)
