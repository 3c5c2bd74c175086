"""Files of models on this worker's disk."""

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
    """Blobs, and the folders that artefacts are laid out in.

    What somebody holds stays; what nobody holds any more is removed. A folder that outlives the process
    gives its blobs to the next one, which checks them before use.

    Args:
        folder: Made if absent.

    Attributes:
        blobs: What `Blobs` serves.
        workplace: Folder for models that are being prepared; empty at the start.
    """

    def __init__(self, folder: Path) -> None:
        self.blobs = BlobFolder(folder / "blobs")
        self.blobs.remove_leftovers()
        self.workplace = folder / "workplace"
        self._stages = folder / "stages"
        # Folders hold links to blobs: made again in no time, and from content that is checked then.
        for leftover in (self.workplace, self._stages):
            shutil.rmtree(leftover, ignore_errors=True)
            leftover.mkdir()
        self._artefacts: Counter[str] = Counter()
        self._blobs: Counter[str] = Counter()

    def hold(self, artefact: Artefact) -> None:
        """Keeps an artefact until `release`, once for each `hold`."""
        self._artefacts[artefact.digest] += 1
        self._blobs.update(file.sha256 for file in artefact.files)

    async def release(self, artefact: Artefact) -> None:
        """Takes one `hold` back; after the last, files that nothing else needs are removed."""
        self._artefacts[artefact.digest] -= 1
        self._blobs.subtract(file.sha256 for file in artefact.files)
        unused = [file.sha256 for file in artefact.files if self._blobs[file.sha256] <= 0]
        folder = None if self._artefacts[artefact.digest] > 0 else self._stages / artefact.digest
        self._artefacts += Counter()  # drops what is at zero
        self._blobs += Counter()
        await in_thread(self._remove, folder, unused)

    async def fetch(self, artefact: Artefact, sources: Sequence[str]) -> None:
        """Brings the blobs of an artefact that is held.

        Raises:
            NotFound, CorruptData, Unavailable, InvalidRequest: As `fetch_artefact`.
        """
        await fetch_artefact(artefact, self.blobs, sources)

    async def stage_folder(self, artefact: Artefact, sources: Sequence[str]) -> Path:
        """Brings an artefact that is held and returns the folder with its files, every content checked.

        Raises:
            NotFound, CorruptData, Unavailable, InvalidRequest: As `fetch_artefact`.
        """
        await self.fetch(artefact, sources)
        target = self._stages / artefact.digest
        try:
            return await in_thread(materialise, artefact, self.blobs, target, verify=True)
        except (CorruptData, NotFound):
            # A disk that forgets, or a release that came between: what the sources have may be better.
            for file in artefact.files:
                self.blobs.remove(file.sha256)
        await self.fetch(artefact, sources)
        return await in_thread(materialise, artefact, self.blobs, target, verify=True)

    def _remove(self, folder: Path | None, blobs: Sequence[str]) -> None:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for sha256 in blobs:
            self.blobs.remove(sha256)
