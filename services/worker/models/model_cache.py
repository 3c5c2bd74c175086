"""Model cache: blobs and artefact folders on this worker's disk, reference-counted."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from onnxmesh.errors import CorruptData, NotFound
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.fetch import fetch_artefact
from onnxmesh.store.folder import materialise
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.model_pb2 import Artefact


class ModelCache:
    """Blobs, and folders with the files of artefacts.

    Held artefacts stay; others are removed. If the folder outlives the process, the next one uses its blobs and
    verifies them first.

    Args:
        folder: Made if absent.

    Attributes:
        blobs: The blobs; served to other workers and schedulers.
        workplace: Folder for prepared models; empty at the start.
    """

    def __init__(self, folder: Path) -> None:
        self.blobs = BlobFolder(folder / "blobs")
        self.blobs.remove_leftovers()
        self.workplace = folder / "workplace"
        self._stages = folder / "stages"
        # These folders hold links to blobs: quickly made again, from content that is verified then.
        for leftover in (self.workplace, self._stages):
            shutil.rmtree(leftover, ignore_errors=True)
            leftover.mkdir()
        self._artefacts: Counter[str] = Counter()
        self._blobs: Counter[str] = Counter()

    def hold(self, artefact: Artefact) -> None:
        """Holds an artefact until `release` was called as often as `hold`."""
        self._artefacts[artefact.digest] += 1
        self._blobs.update(file.sha256 for file in artefact.files)

    async def release(self, artefact: Artefact) -> None:
        """Undoes one `hold`; after the last, files that no other artefact needs are removed."""
        self._artefacts[artefact.digest] -= 1
        self._blobs.subtract(file.sha256 for file in artefact.files)
        unused = [file.sha256 for file in artefact.files if self._blobs[file.sha256] <= 0]
        folder = None if self._artefacts[artefact.digest] > 0 else self._stages / artefact.digest
        self._artefacts += Counter()  # removes counts of zero
        self._blobs += Counter()
        await in_thread(self._remove, folder, unused)

    async def fetch(self, artefact: Artefact, sources: Sequence[str]) -> None:
        """Fetches the blobs of a held artefact.

        Raises:
            NotFound, CorruptData, Unavailable, InvalidRequest: As `fetch_artefact`.
        """
        await fetch_artefact(artefact, self.blobs, sources)

    async def stage_folder(self, artefact: Artefact, sources: Sequence[str]) -> Path:
        """Fetches a held artefact and returns the folder with its files, each verified.

        Raises:
            NotFound, CorruptData, Unavailable, InvalidRequest: As `fetch_artefact`.
        """
        await self.fetch(artefact, sources)
        target = self._stages / artefact.digest
        try:
            return await in_thread(materialise, artefact, self.blobs, target, verify=True)
        except (CorruptData, NotFound):
            # Corrupted on disk, or released in between: fetch it again.
            for file in artefact.files:
                self.blobs.remove(file.sha256)
        await self.fetch(artefact, sources)
        return await in_thread(materialise, artefact, self.blobs, target, verify=True)

    def _remove(self, folder: Path | None, blobs: Sequence[str]) -> None:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for sha256 in blobs:
            self.blobs.remove(sha256)
