"""The port of what must be served: deployments, and how their versions share traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from onnxmesh.ids import ModelName, Version
from onnxmesh.state.traffic_split import TrafficSplit
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Plan


@dataclass(frozen=True, slots=True)
class Deployment:
    """One version of a model that the mesh is to serve. Nobody changes its messages.

    Attributes:
        spec: What the operator asked for; its version is the one that was given.
        plan: How the model was cut; names the partitions.
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
        """What clients call the model."""
        return ModelName(self.spec.name)

    @property
    def version(self) -> Version:
        """Its version, from 1."""
        return Version(self.spec.version)


class DeploymentStore(Protocol):
    """Deployments and traffic splits that outlive a scheduler."""

    async def save(self, deployment: Deployment) -> None:
        """Writes a deployment down, in place of one of the same name and version."""
        ...

    async def delete(self, name: ModelName, version: Version) -> None:
        """Forgets a deployment; one that is not there is no error."""
        ...

    async def all(self) -> list[Deployment]:
        """Returns every deployment, by name and version."""
        ...

    async def after(self, revision: int) -> tuple[int, list[Deployment]]:
        """Waits for a revision greater than `revision` (0: for none that was seen).

        Returns:
            That revision, and every deployment then, by name and version.
        """
        ...

    async def save_split(self, split: TrafficSplit) -> None:
        """Writes a traffic split down, in place of the model's one before."""
        ...

    async def delete_split(self, name: ModelName) -> None:
        """Forgets a model's traffic split; one that is not there is no error."""
        ...

    async def splits(self) -> list[TrafficSplit]:
        """Returns every traffic split, by name."""
        ...
