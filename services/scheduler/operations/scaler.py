"""More or fewer replicas of what is deployed."""

from __future__ import annotations

import asyncio

import structlog

from onnxmesh.errors import Conflict, DeadlineExceeded, InvalidRequest, MeshError, Unsatisfiable
from onnxmesh.ids import ModelName
from onnxmesh.state.base import Deployment
from onnxmesh.v1.mesh_pb2 import DeployProgress
from onnxmesh.v1.model_pb2 import DeploymentSpec
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.desired.deployment_spec import check_replicas
from services.scheduler.desired.desired_stages import desired_stages
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.placement.placement import missing, without_capacity
from services.scheduler.planning.preparation import Report
from services.scheduler.reconciliation.reconciler import Reconciler
from services.scheduler.workers.eligibility import eligible_again

_log = structlog.get_logger(__name__)


class Scaler:
    """Changes how many replicas each stage of a deployment has.

    Args:
        catalogue: What is deployed.
        fleet: The workers.
        reconciler: Has it carried out.
        timeout_s: How long a caller waits for the replicas.
    """

    def __init__(self, catalogue: Catalogue, fleet: Fleet, reconciler: Reconciler, timeout_s: float) -> None:
        self._catalogue = catalogue
        self._fleet = fleet
        self._reconciler = reconciler
        self._timeout_s = timeout_s

    async def scale(self, name: ModelName, version: int, replicas: int, report: Report) -> Deployment:
        """Brings one version of a model, or with 0 all, to so many replicas of each stage.

        Where a plan may choose the replicas of each stage, it is the least of them. What cannot be loaded is taken back.
        A caller who leaves, or for whom it takes too long, changes nothing about it.

        Returns:
            The newest of the versions.

        Raises:
            InvalidRequest: There cannot be so many, or so few (INVALID_ARGUMENT).
            NotFound: There is no such model or version (NOT_FOUND).
            Unsatisfiable: Too few workers can hold them (FAILED_PRECONDITION).
            Conflict: It was undeployed meanwhile (ALREADY_EXISTS).
            DeadlineExceeded: It takes long; it goes on (DEADLINE_EXCEEDED).
            MeshError: A worker refused a stage for good.
        """
        if replicas < 1:
            raise InvalidRequest(
                "a stage has at least 1 replica; 0 were asked for: undeploy the model instead"
            )
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

    async def _scale(self, deployment: Deployment, replicas: int, report: Report) -> None:
        before = deployment.spec.replicas
        if not await self._catalogue.rescale(deployment, replicas):
            raise _undeployed(deployment)
        _log.info(
            "scaled", model=deployment.name, version=deployment.version, replicas=replicas, before=before
        )
        self._reconciler.reconcile()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._carried_out(deployment, report)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{replicas} replicas of '{deployment.name}' version {deployment.version} are not there after "
                f"{self._timeout_s:g} s; the mesh goes on with it"
            ) from None
        except MeshError:
            current = self._catalogue.current(deployment)
            if current is not None and current.spec.replicas == replicas:
                await self._catalogue.rescale(deployment, before)
                self._reconciler.reconcile()
            raise

    async def _carried_out(self, deployment: Deployment, report: Report) -> None:
        """Returns once every stage has as many replicas as are wished for, and no more."""
        revision, told = 0, ""
        while True:
            current = self._catalogue.current(deployment)
            if current is None:
                raise _undeployed(deployment)
            revision, outcome = await self._reconciler.outcome.after(revision)
            desired, placement = desired_stages(current), outcome.placement
            counts = [len(placement.routed.get(stage.key, ())) for stage in desired]
            goals = [stage.replicas for stage in desired]
            if counts == goals:
                return
            if missing(desired, placement):
                if (error := self._reconciler.refusal(current)) is not None:
                    raise error
                if lacking := without_capacity(desired, placement):
                    raise Unsatisfiable(f"no worker has the memory for more replicas: {lacking}")
            text = f"version {deployment.version}: {sum(counts)} replicas serve, {sum(goals)} are to"
            if text != told:
                await report(DeployProgress.LOADING, text)
                told = text


def _undeployed(deployment: Deployment) -> Conflict:
    return Conflict(f"model '{deployment.name}' version {deployment.version} was undeployed meanwhile")
