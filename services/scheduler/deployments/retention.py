"""Which blobs are kept, and for how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from onnxmesh.ids import Digest
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.model_pb2 import Artefact


class Retention:
    """Counts who needs a blob and removes it when nobody does. For one event loop.

    Hold an artefact before its blobs are written, so that nobody removes one that somebody else counts on.

    Args:
        blobs: The folder that it looks after, alone.
    """

    def __init__(self, blobs: BlobFolder) -> None:
        self._blobs = blobs
        self._holds: Counter[str] = Counter()

    def hold(self, artefact: Artefact) -> None:
        """Keeps the artefact's blobs until `release`."""
        self._holds.update(file.sha256 for file in artefact.files)

    def release(self, artefact: Artefact) -> None:
        """Ends one `hold`; blobs that nobody holds any more are removed."""
        self._holds.subtract(file.sha256 for file in artefact.files)
        for file in artefact.files:
            if self._holds[file.sha256] <= 0:
                del self._holds[file.sha256]
                self._blobs.remove(file.sha256)

    def detach(self, artefact: Artefact) -> None:
        """Ends one `hold`, and leaves blobs that nobody holds any more where they are."""
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
        """Whether anyone holds a blob."""
        return digest in self._holds

    def unheld(self) -> set[Digest]:
        """Returns the blobs that are there without anyone holding them."""
        return {digest for digest in self._blobs.digests() if digest not in self._holds}


class Scope:
    """Holds that end together."""

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
    """Removes the blobs that are there without anyone holding them."""
    for digest in await in_thread(retention.unheld):
        if not retention.holds(digest):
            blobs.remove(digest)
