"""Scaling: more or fewer replicas of each stage of a deployment."""

from __future__ import annotations

import asyncio

import structlog

from onnxmesh.errors import DeadlineExceeded, InvalidRequest, MeshError
from onnxmesh.ids import ModelName
from onnxmesh.quantities import count_text
from onnxmesh.state.base import Deployment
from onnxmesh.v1.mesh_pb2 import DeployProgress
from onnxmesh.v1.model_pb2 import DeploymentSpec
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.desired.deployment_spec import check_replicas
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.planning.preparation import ReportPhase
from services.scheduler.reconciliation.goal import ScaleGoal, undeployed
from services.scheduler.reconciliation.reconciler import Reconciler
from services.scheduler.workers.eligibility import eligible_again

_log = structlog.get_logger(__name__)


class Scaler:
    """Changes how many replicas each stage of a deployment has.

    Args:
        catalogue: What is deployed.
        fleet: The workers.
        reconciler: Loads and evicts the replicas.
        timeout_s: How long a caller waits for the replicas.
    """

    def __init__(
        self, catalogue: Catalogue, fleet: Fleet, reconciler: Reconciler, *, timeout_s: float
    ) -> None:
        self._catalogue = catalogue
        self._fleet = fleet
        self._reconciler = reconciler
        self._timeout_s = timeout_s

    async def scale(self, name: ModelName, version: int, replicas: int, report: ReportPhase) -> Deployment:
        """Brings one version of a model, or with 0 every version, to `replicas` replicas of each stage.

        Where a plan chooses the replicas of each stage, `replicas` is the least of them. A change that a worker
        refuses is taken back. A caller that disconnects, or whose wait times out, does not stop the change.

        Returns:
            The newest of the versions.

        Raises:
            InvalidRequest: The number is not one a stage can have (INVALID_ARGUMENT).
            NotFound: There is no such model or version (NOT_FOUND).
            Unsatisfiable: Too few workers can hold them (FAILED_PRECONDITION).
            Conflict: It was undeployed meanwhile (ALREADY_EXISTS).
            DeadlineExceeded: It takes longer than `timeout_s`; it goes on (DEADLINE_EXCEEDED).
            MeshError: A worker refused a stage for good.
        """
        if replicas < 1:
            raise InvalidRequest("a stage has at least 1 replica, got 0: undeploy the model instead")
        check_replicas(replicas)
        deployments = self._catalogue.find(name, version)
        for deployment in deployments:
            self._check(deployment, replicas)
        for deployment in deployments:
            await self._scale(deployment, replicas, report)
        return self._catalogue.current(deployments[-1]) or deployments[-1]

    def _check(self, deployment: Deployment, replicas: int) -> None:
        if replicas > deployment.spec.replicas:
            spec = DeploymentSpec()
            spec.CopyFrom(deployment.spec)
            spec.replicas = replicas
            eligible_again(spec, deployment.plan, self._fleet.candidates())

    async def _scale(self, deployment: Deployment, replicas: int, report: ReportPhase) -> None:
        before = deployment.spec.replicas
        if not await self._catalogue.rescale(deployment, replicas):
            raise undeployed(deployment.name, deployment.version)
        _log.info(
            "scaled", model=deployment.name, version=deployment.version, replicas=replicas, before=before
        )
        self._reconciler.reconcile()

        async def report_loading(message: str) -> None:
            await report(DeployProgress.LOADING, message)

        goal = ScaleGoal(self._catalogue, self._reconciler.refusal, deployment)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._reconciler.until(goal, report_loading)
        except TimeoutError:
            raise DeadlineExceeded(
                f"'{deployment.name}' version {deployment.version} does not have "
                f"{count_text(replicas, 'replica')} of each stage after {self._timeout_s:g} s; "
                "scaling goes on"
            ) from None
        except MeshError:
            current = self._catalogue.current(deployment)
            if current is not None and current.spec.replicas == replicas:
                await self._catalogue.rescale(deployment, before)
                self._reconciler.reconcile()
            raise
