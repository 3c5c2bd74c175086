"""One deploy from upload to served, and the way back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import structlog

from onnxmesh.errors import Conflict, DeadlineExceeded, Internal, MeshError, Unsatisfiable
from onnxmesh.ids import ModelName, Version
from onnxmesh.state.base import Deployment
from onnxmesh.v1.mesh_pb2 import DeployProgress
from onnxmesh.v1.model_pb2 import DeploymentSpec
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.retention import Retention
from services.scheduler.deployments.traffic_splits import TrafficSplits
from services.scheduler.desired.desired_stages import desired_stages
from services.scheduler.desired.traffic import check_percent
from services.scheduler.operations.upload import Upload
from services.scheduler.placement.placement import missing, without_capacity
from services.scheduler.planning.preparation import Preparation, Report
from services.scheduler.reconciliation.reconciler import Reconciler

_T = TypeVar("_T")
_Unshare = Callable[[], Awaitable[None]]
"""Takes back what part of the traffic a version was given."""

_log = structlog.get_logger(__name__)


class Deployer:
    """Deploys and undeploys models; `run` must run beside it.

    Until a deployment is written down it belongs to its client, and goes when the client goes. From then on it
    is seen through whether the client stays or not, and withdrawn if it cannot be served.

    Args:
        catalogue: Where deployments end up.
        retention: Keeps blobs that are needed on the way.
        preparation: Makes plans.
        reconciler: Has plans carried out.
        splits: How versions share traffic.
        timeout_s: How long a deploy may take after its upload.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        retention: Retention,
        preparation: Preparation,
        reconciler: Reconciler,
        splits: TrafficSplits,
        timeout_s: float,
    ) -> None:
        self._catalogue = catalogue
        self._retention = retention
        self._preparation = preparation
        self._reconciler = reconciler
        self._splits = splits
        self._timeout_s = timeout_s
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Carries deployments whose client may leave, until it is cancelled."""
        async with self._group:
            await asyncio.Event().wait()

    def check(self, spec: DeploymentSpec) -> None:
        """Says before a model is sent that nobody here could run it, or that its part of the traffic cannot be.

        Raises:
            Unsatisfiable: No worker can run it (FAILED_PRECONDITION).
            InvalidRequest: No other version is there for the rest of the traffic (INVALID_ARGUMENT).
        """
        if spec.HasField("traffic_percent"):
            name = ModelName(spec.name)
            others = [each for each in self._catalogue.versions(name) if each != spec.version]
            check_percent(name, spec.traffic_percent, others)
        self._preparation.check(spec)

    async def deploy(self, upload: Upload, report: Report) -> Deployment:
        """Brings an uploaded model to where every stage has its replicas.

        The same content under the same wish again changes nothing: the deployment that is there is returned.

        Raises:
            Conflict: The version asked for is something else (ALREADY_EXISTS).
            Unsatisfiable: No worker can run it (FAILED_PRECONDITION).
            DeadlineExceeded: It took too long; it was withdrawn (DEADLINE_EXCEEDED).
            MeshError: A worker refused the model, the cut or a stage; it was withdrawn.
        """
        end_s = asyncio.get_running_loop().time() + self._timeout_s
        name = ModelName(upload.spec.name)
        phase = _Phase(report)
        percent = upload.spec.traffic_percent if upload.spec.HasField("traffic_percent") else None
        async with self._catalogue.turn(name):
            existing = self._catalogue.same(upload.spec, upload.artefact.digest)
            if existing is not None:
                self._preparation.check(existing.spec)
                await phase.enter(
                    DeployProgress.LOADING, f"the same is deployed as version {existing.version}"
                )
                await self._in_time(self._loaded(existing), end_s, phase)
                if percent is not None:
                    await self._splits.roll_out(name, existing.version, percent)
                    self._reconciler.reconcile()
                return existing
            version = self._catalogue.version_for(upload.spec)
            with self._retention.scope() as scope:
                scope.hold(upload.artefact)
                upload.keep()
                planned = await self._in_time(
                    self._preparation.plan(upload.spec, upload.artefact, scope, phase.enter), end_s, phase
                )
                spec = DeploymentSpec()
                spec.CopyFrom(upload.spec)
                spec.version = version
                spec.ClearField("traffic_percent")
                deployment = replace(planned, spec=spec)
                await phase.enter(DeployProgress.LOADING, f"version {version}: {_extent(deployment)}")
                async with self._shared(deployment, percent) as unshare:
                    await self._catalogue.add(deployment)
                seeing = self._group.create_task(self._see_through(deployment, unshare, end_s, phase))
            self._reconciler.reconcile()
            error = await asyncio.shield(seeing)
        if error is not None:
            raise error
        return deployment

    async def undeploy(self, name: ModelName, version: int) -> list[Version]:
        """Ends the service of one version of a model, or with 0 of all; returns which they were.

        Raises:
            NotFound: There is none (NOT_FOUND).
        """
        deployments = self._catalogue.find(name, version)
        for deployment in deployments:
            await self._withdraw(deployment)
        return [deployment.version for deployment in deployments]

    async def _see_through(
        self, deployment: Deployment, unshare: _Unshare, end_s: float, phase: _Phase
    ) -> Exception | None:
        """Waits until a new deployment is ready, or withdraws it and returns why."""
        key = (deployment.name, deployment.version)
        try:
            await self._in_time(self._loaded(deployment), end_s, phase)
        except Exception as error:  # noqa: BLE001 - a defect in one deploy must not end the scheduler
            if not isinstance(error, MeshError):
                _log.error("deploy_failed", model=deployment.name, exc_info=error)
                error = Internal("internal error: the log of the scheduler has the rest")
            _log.warning("deployment_withdrawn", model=key[0], version=key[1], error=str(error))
            await unshare()
            await self._withdraw(deployment)
            return error
        self._catalogue.accept(key)
        _log.info("deployed", model=key[0], version=key[1], stages=len(deployment.plan.partitions))
        return None

    @asynccontextmanager
    async def _shared(self, deployment: Deployment, percent: int | None) -> AsyncIterator[_Unshare]:
        """Gives a new version its part before it is there, so that it never has another; takes it back on failure."""
        before, shared = self._splits.get(deployment.name), None
        if percent is not None:
            shared = await self._splits.roll_out(deployment.name, deployment.version, percent)

        async def unshare() -> None:
            if shared is not None:
                await self._splits.undo(shared, before)

        try:
            yield unshare
        except BaseException:
            await unshare()
            raise

    async def _loaded(self, deployment: Deployment) -> None:
        """Returns once every stage has its replicas.

        Raises:
            Conflict: It was undeployed meanwhile (ALREADY_EXISTS).
            Unsatisfiable: There is no memory for it, and none is about to be (FAILED_PRECONDITION).
            MeshError: A worker refused a stage for good.
        """
        key = (deployment.name, deployment.version)
        revision = 0
        while True:
            current = self._catalogue.current(deployment)
            if current is None:
                raise Conflict(f"model '{key[0]}' version {key[1]} was undeployed while it was being loaded")
            revision, outcome = await self._reconciler.outcome.after(revision)
            if (error := outcome.failures.get(key)) is not None:
                raise error
            desired = desired_stages(current)
            if key in outcome.published and not missing(desired, outcome.placement):
                return
            if key in self._catalogue.probation and (lacking := without_capacity(desired, outcome.placement)):
                raise Unsatisfiable(f"no worker has the memory for every stage: {lacking}")

    async def _in_time(self, work: Awaitable[_T], end_s: float, phase: _Phase) -> _T:
        try:
            async with asyncio.timeout_at(end_s):
                return await work
        except TimeoutError:
            raise DeadlineExceeded(
                f"the deploy took longer than {self._timeout_s:g} s; it was at: {phase.message}"
            ) from None

    async def _withdraw(self, deployment: Deployment) -> None:
        try:
            await self._catalogue.forget(deployment)
        finally:
            if self._catalogue.drop(deployment):
                self._reconciler.reconcile()
        await self._splits.prune(deployment.name)


def _extent(deployment: Deployment) -> str:
    """Says how many stages and replicas a deployment has."""
    counts = [stage.replicas for stage in desired_stages(deployment)]
    fewest, most = min(counts), max(counts)
    replicas = (
        f"{most} replica{'s' if most > 1 else ''}" if fewest == most else f"{fewest} to {most} replicas"
    )
    return f"{len(counts)} stage{'s' if len(counts) > 1 else ''} in {replicas}"


class _Phase:
    """How far a deploy is."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.message = "received"

    async def enter(self, phase: DeployProgress.Phase.ValueType, message: str) -> None:
        self.message = message
        await self._report(phase, message)
