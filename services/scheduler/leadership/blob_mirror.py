"""Files of what is deployed, at every scheduler, so that the next leader has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from onnxmesh.errors import MeshError
from onnxmesh.state.base import DeploymentStore
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.fetch import fetch_artefact
from onnxmesh.v1.model_pb2 import Artefact
from services.scheduler.deployments.catalogue import artefacts_of
from services.scheduler.deployments.retention import Retention, remove_unheld

RETRY_S = 2.0
"""Time between two attempts to get what nobody could give."""

_log = structlog.get_logger(__name__)


class BlobMirror:
    """Brings and keeps the files of every deployment.

    Args:
        store: What is deployed.
        blobs: Where the files go.
        retention: Keeps them.
        sources: Returns who may have them now, `HOST:PORT` of each, the likeliest first.
        retry_s: Time between two attempts to get what nobody could give.
    """

    def __init__(
        self,
        store: DeploymentStore,
        blobs: BlobFolder,
        retention: Retention,
        sources: Callable[[], Sequence[str]],
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._retention = retention
        self._sources = sources
        self._retry_s = retry_s
        self._held: list[Artefact] = []

    async def run(self) -> None:
        """Follows the store until it is cancelled."""
        revision, complete, swept = 0, True, False
        while True:
            try:
                async with asyncio.timeout(None if complete else self._retry_s):
                    revision, deployments = await self._store.after(revision)
            except TimeoutError:
                pass
            else:
                self._hold([artefact for each in deployments for artefact in artefacts_of(each)])
                if not swept and deployments:
                    # What was undeployed while this scheduler was away. A store without anything in it may
                    # have lost it: then files are worth more than their space.
                    swept = True
                    await remove_unheld(self._blobs, self._retention)
            complete = await self._fetch()

    def _hold(self, artefacts: list[Artefact]) -> None:
        for artefact in artefacts:
            self._retention.hold(artefact)
        # After the new ones are held: what stays is never without a hold.
        for artefact in self._held:
            self._retention.release(artefact)
        self._held = artefacts

    async def _fetch(self) -> bool:
        """Whether everything is here."""
        complete = True
        for artefact in list(self._held):
            try:
                await fetch_artefact(artefact, self._blobs, self._sources())
            except MeshError as error:
                _log.warning("blobs_missing", artefact=artefact.digest, error=error.message)
                complete = False
        return complete
