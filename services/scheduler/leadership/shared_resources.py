"""Resources of a scheduler that outlive a term."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.discovery.base import Directory
from onnxmesh.live.base import LiveState
from onnxmesh.state.base import DeploymentStore
from onnxmesh.store.blobs import BlobFolder
from services.scheduler.deployments.retention import Retention
from services.scheduler.leadership.leader_settings import LeaderSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedResources:
    """Resources of a scheduler that outlive a term.

    Attributes:
        settings: Times and limits of decisions.
        store: Deployments and traffic splits.
        directory: The instances that are registered.
        blobs: Files of models.
        retention: Keeps the blobs that are needed.
        address: Where this scheduler is reached, `HOST:PORT`.
        live: Measurements that gateways and schedulers share.
    """

    settings: LeaderSettings
    store: DeploymentStore
    directory: Directory
    blobs: BlobFolder
    retention: Retention
    address: str
    live: LiveState
