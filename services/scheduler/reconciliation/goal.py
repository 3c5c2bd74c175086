"""Goals: conditions of the mesh that a caller waits for with `Reconciler.until`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from onnxmesh.errors import Conflict, MeshError, Unsatisfiable
from onnxmesh.ids import ModelName, StageKey
from onnxmesh.state.base import Deployment
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.desired.desired_stages import desired_stages
from services.scheduler.placement.moves import Move
from services.scheduler.placement.placement import missing, without_capacity
from services.scheduler.reconciliation.reconcile_outcome import ReconcileOutcome

R_co = TypeVar("R_co", covariant=True)

Refusal = Callable[[Deployment], MeshError | None]
"""Returns why a worker refuses a stage of a deployment for good; None: no worker does."""


class Goal(Protocol[R_co]):
    """A condition that is checked against the outcome of every reconciliation."""

    def remaining(self, outcome: ReconcileOutcome) -> R_co | None:
        """Returns what is still to be done, for a progress report; None: the goal is reached.

        Raises:
            MeshError: The goal cannot be reached any more.
        """


@dataclass(frozen=True, slots=True)
class DeployGoal:
    """Every stage of a new deployment has its replicas, and the model is in the route table.

    Attributes:
        catalogue: All deployments.
        deployment: The new one.
    """

    catalogue: Catalogue
    deployment: Deployment

    def remaining(self, outcome: ReconcileOutcome) -> list[StageKey] | None:
        """Returns the stages that lack replicas; None: the deployment is ready.

        Raises:
            Conflict: It was undeployed meanwhile (ALREADY_EXISTS).
            Unsatisfiable: No worker has the memory for it, nor is any about to be freed (FAILED_PRECONDITION).
            MeshError: A worker refused a stage for good.
        """
        key = (self.deployment.name, self.deployment.version)
        current = self.catalogue.current(self.deployment)
        if current is None:
            raise Conflict(f"model '{key[0]}' version {key[1]} was undeployed while it was being loaded")
        if (error := outcome.failures.get(key)) is not None:
            raise error
        stages = desired_stages(current)
        lacking = missing(stages, outcome.placement)
        if key in outcome.published and not lacking:
            return None
        if key in self.catalogue.probation and (short := without_capacity(stages, outcome.placement)):
            raise Unsatisfiable(f"no worker has the memory for every stage: {short}")
        return lacking


@dataclass(frozen=True, slots=True)
class ScaleGoal:
    """Every stage of a deployment has exactly as many ready replicas as its spec requires.

    Attributes:
        catalogue: All deployments.
        refusal: Finds a worker that refuses a stage.
        deployment: The one that is scaled.
    """

    catalogue: Catalogue
    refusal: Refusal
    deployment: Deployment

    def remaining(self, outcome: ReconcileOutcome) -> str | None:
        """Returns how many replicas are ready, as a sentence; None: all are, and no more.

        Raises:
            Conflict: The deployment was undeployed meanwhile (ALREADY_EXISTS).
            Unsatisfiable: No worker has the memory for more replicas (FAILED_PRECONDITION).
            MeshError: A worker refused a stage for good.
        """
        current = self.catalogue.current(self.deployment)
        if current is None:
            raise undeployed(self.deployment.name, self.deployment.version)
        stages, placement = desired_stages(current), outcome.placement
        num_ready = [len(placement.routed.get(stage.key, ())) for stage in stages]
        num_desired = [stage.replicas for stage in stages]
        if num_ready == num_desired:
            return None
        if missing(stages, placement):
            if (error := self.refusal(current)) is not None:
                raise error
            if short := without_capacity(stages, placement):
                raise Unsatisfiable(f"no worker has the memory for more replicas: {short}")
        return f"version {current.version}: {sum(num_ready)} of {sum(num_desired)} replicas ready"


@dataclass(frozen=True, slots=True)
class ReplanGoal:
    """A deployment's next plan is loaded, or the deployment was removed, or the plan in force lacks a stage.

    Attributes:
        catalogue: All deployments.
        refusal: Finds a worker that refuses a stage.
        deployment: Under the plan in force.
        successor: The same under its next plan.
    """

    catalogue: Catalogue
    refusal: Refusal
    deployment: Deployment
    successor: Deployment

    def remaining(self, outcome: ReconcileOutcome) -> list[StageKey] | None:
        """Returns the new stages that lack replicas; None: go on.

        Raises:
            Unsatisfiable: There is no memory for them beside the plan in force (FAILED_PRECONDITION).
            MeshError: A worker refused a stage for good.
        """
        stages, placement = desired_stages(self.successor), outcome.placement
        lacking = missing(stages, placement)
        if self.catalogue.current(self.successor) is None or not lacking:
            return None
        if (error := self.refusal(self.successor)) is not None:
            raise error
        if short := without_capacity(stages, placement):
            if _is_incomplete(self.deployment, placement.routed):
                return None  # The plan in force answers no request, and holds the memory.
            raise Unsatisfiable(f"there is no memory to load it beside what is served: {short}")
        return lacking


@dataclass(frozen=True, slots=True)
class RebalanceGoal:
    """No rebalance is under way."""

    def remaining(self, outcome: ReconcileOutcome) -> tuple[Move, ...] | None:
        """Returns the moves under way; None: the rebalance has ended."""
        return outcome.placement.moves if outcome.rebalancing else None


def undeployed(name: ModelName, version: int) -> Conflict:
    """Returns the error of a deployment that was undeployed during an operation on it."""
    return Conflict(f"model '{name}' version {version} was undeployed meanwhile")


def _is_incomplete(deployment: Deployment, routed: Mapping[StageKey, tuple[object, ...]]) -> bool:
    return any(not routed.get(stage.key) for stage in desired_stages(deployment))
