"""Port of the durable state of a mesh: deployments and traffic splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from onnxmesh.ids import ModelName, Version
from onnxmesh.state.traffic_split import TrafficSplit
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Plan


@dataclass(frozen=True, slots=True)
class Deployment:
    """One version of a model that the mesh serves. Its messages must not be changed.

    Attributes:
        spec: The operator's specification, with the version that was assigned.
        plan: The plan, which names the partitions.
        source: The model as it was uploaded.
        costs: JSON of the `GraphCosts` that the plan was made from; empty: an older release made it.
        profile: JSON of the `Profile` that it was made with; empty: nothing was measured.
    """

    spec: DeploymentSpec
    plan: Plan
    source: Artefact
    costs: bytes = b""
    profile: bytes = b""

    @property
    def name(self) -> ModelName:
        """The model's name."""
        return ModelName(self.spec.name)

    @property
    def version(self) -> Version:
        """Its version, from 1."""
        return Version(self.spec.version)


class DeploymentStore(Protocol):
    """Port that stores deployments and traffic splits beyond the life of a scheduler."""

    async def save(self, deployment: Deployment) -> None:
        """Stores a deployment, in place of one of the same name and version."""
        ...

    async def delete(self, name: ModelName, version: Version) -> None:
        """Deletes a deployment; a missing one is no error."""
        ...

    async def all(self) -> list[Deployment]:
        """Returns every deployment, by name and version."""
        ...

    async def after(self, revision: int) -> tuple[int, list[Deployment]]:
        """Waits for a revision greater than `revision` (0: any).

        Returns:
            That revision and its deployments, by name and version.
        """
        ...

    async def save_split(self, split: TrafficSplit) -> None:
        """Stores a traffic split, in place of the model's previous one."""
        ...

    async def delete_split(self, name: ModelName) -> None:
        """Deletes a model's traffic split; a missing one is no error."""
        ...

    async def splits(self) -> list[TrafficSplit]:
        """Returns every traffic split, by name."""
        ...
