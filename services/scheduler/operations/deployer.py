"""Deployments from upload to ready, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import structlog

from onnxmesh.errors import DeadlineExceeded, Internal, MeshError
from onnxmesh.ids import ModelName, Version
from onnxmesh.quantities import count_text
from onnxmesh.state.base import Deployment
from onnxmesh.v1.mesh_pb2 import DeployProgress
from onnxmesh.v1.model_pb2 import DeploymentSpec
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.retention import Retention
from services.scheduler.deployments.traffic_splits import TrafficSplits
from services.scheduler.desired.desired_stages import desired_stages
from services.scheduler.desired.traffic import check_percent
from services.scheduler.operations.upload import Upload
from services.scheduler.planning.preparation import Preparation, ReportPhase
from services.scheduler.reconciliation.goal import DeployGoal
from services.scheduler.reconciliation.reconciler import Reconciler

_T = TypeVar("_T")
_UndoSplit = Callable[[], Awaitable[None]]
"""Restores the traffic split that was in force before a version was given its part."""

_log = structlog.get_logger(__name__)


class Deployer:
    """Deploys and undeploys models; `run` must run beside it.

    Until a deployment is saved it belongs to its client, and ends when the client disconnects. Once saved it is
    carried on without the client, and withdrawn if it cannot be served.

    Args:
        catalogue: All deployments.
        reconciler: Carries plans out.
        preparation: Makes plans.
        retention: Keeps blobs while they are needed.
        splits: How versions share traffic.
        timeout_s: How long a deploy may take after its upload.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        reconciler: Reconciler,
        preparation: Preparation,
        *,
        retention: Retention,
        splits: TrafficSplits,
        timeout_s: float,
    ) -> None:
        self._catalogue = catalogue
        self._reconciler = reconciler
        self._preparation = preparation
        self._retention = retention
        self._splits = splits
        self._timeout_s = timeout_s
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Carries saved deployments, whose clients may disconnect, until it is cancelled."""
        async with self._group:
            await asyncio.Event().wait()

    def check(self, spec: DeploymentSpec) -> None:
        """Refuses a deployment before its files are sent.

        Raises:
            Unsatisfiable: No worker can run it (FAILED_PRECONDITION).
            InvalidRequest: There is no other version for the rest of the traffic (INVALID_ARGUMENT).
        """
        if spec.HasField("traffic_percent"):
            name = ModelName(spec.name)
            others = [each for each in self._catalogue.versions(name) if each != spec.version]
            check_percent(name, spec.traffic_percent, others)
        self._preparation.check(spec)

    async def deploy(self, upload: Upload, report: ReportPhase) -> Deployment:
        """Deploys an uploaded model and returns once every stage has its replicas.

        The same content with the same spec again changes nothing: the existing deployment is returned.

        Raises:
            Conflict: The requested version has other content (ALREADY_EXISTS).
            Unsatisfiable: No worker can run it (FAILED_PRECONDITION).
            DeadlineExceeded: It took longer than `timeout_s` and was withdrawn (DEADLINE_EXCEEDED).
            MeshError: A worker refused the model, the cut or a stage, and the deployment was withdrawn.
        """
        end_s = asyncio.get_running_loop().time() + self._timeout_s
        name = ModelName(upload.spec.name)
        phase = _Phase(report)
        percent = upload.spec.traffic_percent if upload.spec.HasField("traffic_percent") else None
        async with self._catalogue.deploy_lock(name):
            existing = self._catalogue.same(upload.spec, upload.artefact.digest)
            if existing is not None:
                await self._redeploy(existing, percent, end_s, phase)
                return existing
            version = self._catalogue.version_for(upload.spec)
            with self._retention.scope() as scope:
                scope.hold(upload.artefact)
                upload.commit()
                planned = await self._in_time(
                    self._preparation.plan(upload.spec, upload.artefact, scope, phase.enter), end_s, phase
                )
                spec = DeploymentSpec()
                spec.CopyFrom(upload.spec)
                spec.version = version
                spec.ClearField("traffic_percent")
                deployment = replace(planned, spec=spec)
                await phase.enter(DeployProgress.LOADING, f"version {version}: loading {_extent(deployment)}")
                async with self._split(deployment, percent) as undo_split:
                    await self._catalogue.add(deployment)
                carrying = self._group.create_task(self._carry_out(deployment, undo_split, end_s, phase))
            self._reconciler.reconcile()
            error = await asyncio.shield(carrying)
        if error is not None:
            raise error
        return deployment

    async def undeploy(self, name: ModelName, version: int) -> list[Version]:
        """Undeploys one version of a model, or with 0 all of them; returns their numbers.

        Raises:
            NotFound: There is none (NOT_FOUND).
        """
        deployments = self._catalogue.find(name, version)
        for deployment in deployments:
            await self._withdraw(deployment)
        return [deployment.version for deployment in deployments]

    async def _redeploy(self, existing: Deployment, percent: int | None, end_s: float, phase: _Phase) -> None:
        """Waits until an existing deployment is ready, and gives it its part of the traffic."""
        self._preparation.check(existing.spec)
        await phase.enter(DeployProgress.LOADING, f"already deployed as version {existing.version}")
        await self._in_time(self._ready(existing), end_s, phase)
        if percent is not None:
            await self._splits.roll_out(existing.name, existing.version, percent)
            self._reconciler.reconcile()

    async def _carry_out(
        self, deployment: Deployment, undo_split: _UndoSplit, end_s: float, phase: _Phase
    ) -> Exception | None:
        """Waits until a new deployment is ready, or withdraws it and returns why."""
        key = (deployment.name, deployment.version)
        try:
            await self._in_time(self._ready(deployment), end_s, phase)
        except Exception as error:  # noqa: BLE001 - a defect in one deploy must not end the scheduler
            if not isinstance(error, MeshError):
                _log.error("deploy_failed", model=deployment.name, exc_info=error)
                error = Internal("internal error: see the log of the scheduler")
            _log.warning("deployment_withdrawn", model=key[0], version=key[1], error=str(error))
            await undo_split()
            await self._withdraw(deployment)
            return error
        self._catalogue.accept(key)
        self._reconciler.reconcile()  # the end of the probation may call for another plan
        _log.info("deployed", model=key[0], version=key[1], stages=len(deployment.plan.partitions))
        return None

    @asynccontextmanager
    async def _split(self, deployment: Deployment, percent: int | None) -> AsyncIterator[_UndoSplit]:
        """Gives a new version its part of the traffic before it is saved; restores the split on failure."""
        before, split = self._splits.get(deployment.name), None
        if percent is not None:
            split = await self._splits.roll_out(deployment.name, deployment.version, percent)

        async def undo() -> None:
            if split is not None:
                await self._splits.undo(split, before)

        try:
            yield undo
        except BaseException:
            await undo()
            raise

    async def _ready(self, deployment: Deployment) -> None:
        await self._reconciler.until(DeployGoal(self._catalogue, deployment))

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
            await self._catalogue.delete(deployment)
        finally:
            if self._catalogue.remove(deployment):
                self._reconciler.reconcile()
        await self._splits.prune(deployment.name)


def _extent(deployment: Deployment) -> str:
    """Returns how many stages and replicas a deployment has, in words: `2 stages, 1 replica each`."""
    counts = [stage.replicas for stage in desired_stages(deployment)]
    fewest, most = min(counts), max(counts)
    replicas = count_text(most, "replica") if fewest == most else f"{fewest} to {most} replicas"
    return f"1 stage, {replicas}" if len(counts) == 1 else f"{len(counts)} stages, {replicas} each"


class _Phase:
    """The phase that a deploy is in, reported as it begins."""

    def __init__(self, report: ReportPhase) -> None:
        self._report = report
        self.message = "received"

    async def enter(self, phase: DeployProgress.Phase.ValueType, message: str) -> None:
        self.message = message
        await self._report(phase, message)
