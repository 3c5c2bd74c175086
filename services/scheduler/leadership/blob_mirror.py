"""The blob mirror: files of every deployment at every scheduler, so that the next leader has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from onnxmesh.discovery.base import Directory
from onnxmesh.errors import MeshError
from onnxmesh.leadership.base import Candidate
from onnxmesh.state.base import DeploymentStore
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.fetch import fetch_artefact
from onnxmesh.v1.model_pb2 import Artefact
from services.scheduler.deployments.catalogue import artefacts_of
from services.scheduler.deployments.retention import Retention, remove_unheld

MIRROR_RETRY_S = 2.0
"""Seconds between two attempts to fetch files that no source could provide."""

_log = structlog.get_logger(__name__)


class BlobSources:
    """Finds addresses that may have the files of deployments.

    Args:
        directory: The instances that are registered.
        candidate: Who leads.
        own_id: Of this scheduler, which is no source.
    """

    def __init__(self, directory: Directory, candidate: Candidate, own_id: str) -> None:
        self._directory = directory
        self._candidate = candidate
        self._own_id = own_id

    def addresses(self) -> list[str]:
        """Returns `HOST:PORT` of the leader, the other schedulers, then the workers, which have what they serve."""
        leader = self._candidate.status.leader
        others = [each for each in self._directory.instances.values() if each.id != self._own_id]
        schedulers = [each.address for each in others if each.role == "scheduler"]
        schedulers.sort(key=lambda address: leader is None or address != leader.address)
        return schedulers + [each.address for each in others if each.role == "worker"]


class BlobMirror:
    """Fetches and keeps the files of every deployment.

    Args:
        store: The deployments.
        blobs: Where the files go.
        retention: Keeps them.
        sources: Returns addresses that may have the files now, the likeliest first.
        retry_s: Seconds between two attempts to fetch files that no source could provide.
    """

    def __init__(
        self,
        store: DeploymentStore,
        blobs: BlobFolder,
        retention: Retention,
        *,
        sources: Callable[[], Sequence[str]],
        retry_s: float = MIRROR_RETRY_S,
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
                    # Removes what was undeployed while this scheduler was down. An empty store may have lost its
                    # content: then the files are worth more than their space.
                    swept = True
                    await remove_unheld(self._blobs, self._retention)
            complete = await self._fetch()

    def _hold(self, artefacts: list[Artefact]) -> None:
        for artefact in artefacts:
            self._retention.hold(artefact)
        # After the new ones are held, so that files of both are never without a hold.
        for artefact in self._held:
            self._retention.release(artefact)
        self._held = artefacts

    async def _fetch(self) -> bool:
        """Fetches what is absent; returns whether every file is here."""
        complete = True
        for artefact in list(self._held):
            try:
                await fetch_artefact(artefact, self._blobs, self._sources())
            except MeshError as error:
                _log.warning("blobs_missing", artefact=artefact.digest, error=error.message)
                complete = False
        return complete
