"""Preparation of models: workers prepare and cut them, the scheduler plans in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc.aio
import structlog

from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import CorruptData, Internal, MeshError, Unsatisfiable
from onnxmesh.ids import WorkerId
from onnxmesh.model.batching import MAX_CHECK_S, BatchMode
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.plan import Plan as CutPlan
from onnxmesh.model.profile import Profile
from onnxmesh.planning.planner import make_plan
from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.state.base import Deployment
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.fetch import fetch_artefact
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.mesh_pb2 import DeployProgress
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Plan
from onnxmesh.v1.worker_pb2 import CutRequest, CutResponse, DirectInputs, PrepareRequest, PrepareResponse
from onnxmesh.v1.worker_pb2_grpc import WorkerControlStub
from services.scheduler.deployments.retention import Scope
from services.scheduler.desired.deployment_spec import demand_of, normalised
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.planning.surveyor import Surveyor
from services.scheduler.plans.lossy_activations import allow_losses
from services.scheduler.plans.plan_message import check_agreement, checked, plan_message, verifiers
from services.scheduler.plans.survey import Survey
from services.scheduler.workers.eligibility import Eligible, eligible_workers, narrowed

ReportPhase = Callable[["DeployProgress.Phase.ValueType", str], Awaitable[None]]
"""Reports the phase of a deploy, and a message, to its client."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A model that a worker cut, and what it was cut by."""

    worker: Instance
    eligible: Eligible
    survey: Survey
    plan: CutPlan
    prepared: PrepareResponse
    answer: CutResponse


class _LackingRequirement(Unsatisfiable):
    """The worker that was to prepare a model lacks what the model requires."""

    def __init__(self, prepared: PrepareResponse) -> None:
        super().__init__(prepared.lacking)
        self.require = tuple(prepared.require)


class Preparation:
    """Makes plans: workers prepare and cut the model, and the partitions are fetched.

    Args:
        fleet: The workers.
        surveyor: Surveys the mesh before a plan is made.
        blobs: Where the partitions are fetched to.
        address: Where workers fetch the model from this scheduler.
        profile_s: Seconds that a worker may spend on measuring a model's nodes; 0: none are measured.
    """

    def __init__(
        self, fleet: Fleet, surveyor: Surveyor, blobs: BlobFolder, *, address: str, profile_s: float = 0.0
    ) -> None:
        self._fleet = fleet
        self._surveyor = surveyor
        self._blobs = blobs
        self._address = address
        self._profile_s = profile_s

    def check(self, spec: DeploymentSpec) -> None:
        """Refuses a deployment that no worker in the mesh can run.

        Raises:
            Unsatisfiable: No worker can run it (FAILED_PRECONDITION).
        """
        eligible_workers(spec, self._fleet.candidates())

    async def plan(
        self, spec: DeploymentSpec, source: Artefact, scope: Scope, report: ReportPhase
    ) -> Deployment:
        """Returns the deployment of a model under its first plan; its partitions' blobs are fetched and held in `scope`.

        If the worker that prepares it fails, another one is tried; each is tried once.

        Raises:
            Unsatisfiable: No worker can run the deployment (FAILED_PRECONDITION).
            InvalidPlan: It cannot be cut by its spec, or no worker has the memory (INVALID_ARGUMENT).
            MeshError: The worker refused the model or the cut: `InvalidModel` and others.
            CorruptData: Workers of different kinds cut it differently (DATA_LOSS).
            Unavailable: Every worker that was tried was lost (UNAVAILABLE).
        """

        async def attempt(worker: Instance, eligible: Eligible) -> _Cut:
            level = eligible.optimisation.value
            doing = (
                "preparing the model"
                if eligible.mode is CutMode.PORTABLE
                else f"optimising the model at level '{level}'"
            )
            doing += " and measuring its nodes" if self._profile_s > 0 else ""
            await report(DeployProgress.PREPARING, f"{doing} on {worker.id}")
            async with _control(worker) as stub:
                prepared = await _prepare(
                    stub, self._prepare_request(spec, source, eligible, self._profile_s)
                )
                eligible = narrowed(spec, eligible, prepared.require)
                costs = GraphCosts.from_json(prepared.costs.decode())
                profile = Profile.from_json(prepared.profile.decode()) if prepared.profile else None
                survey = await self._surveyor.survey(eligible)
                cut_plan = await in_thread(make_plan, costs, survey.cluster, demand_of(spec), profile)
                checks = spec.batching.mode != BatchMode.OFF
                check_text = (
                    f", and checking which stages can run batches ({MAX_CHECK_S:g} s at most)"
                    if checks
                    else ""
                )
                await report(DeployProgress.CUTTING, f"cutting{check_text}: {cut_plan.why}")
                answer = await stub.Cut(_cut_request(prepared, cut_plan, spec))
            await self._fetch_partitions(worker, answer, cut_plan, scope)
            return _Cut(worker, eligible, survey, cut_plan, prepared, answer)

        cut = await self._on_some_worker(
            spec, lambda: eligible_workers(spec, self._fleet.candidates()), attempt
        )
        plan = await self._as_plan(cut, spec, source)
        return Deployment(spec, plan, source, cut.prepared.costs, cut.prepared.profile)

    async def replan(
        self, deployment: Deployment, eligible: Eligible, survey: Survey, cut_plan: CutPlan, scope: Scope
    ) -> Deployment:
        """Returns a deployment under its next plan; the new partitions' blobs are fetched and held in `scope`.

        Raises:
            CorruptData: The graph of the worker that cuts is not the one that was planned for (DATA_LOSS).
            MeshError: As `plan`.
        """
        spec, source = deployment.spec, deployment.source

        async def attempt(worker: Instance, eligible: Eligible) -> _Cut:
            async with _control(worker) as stub:
                prepared = await _prepare(stub, self._prepare_request(spec, source, eligible, 0.0))
                await in_thread(_check_same_graph, deployment.costs, prepared.costs, worker.id)
                answer = await stub.Cut(_cut_request(prepared, cut_plan, normalised(spec)))
            await self._fetch_partitions(worker, answer, cut_plan, scope)
            return _Cut(worker, eligible, survey, cut_plan, prepared, answer)

        cut = await self._on_some_worker(spec, lambda: eligible, attempt)
        plan = await self._as_plan(cut, spec, source)
        plan.revision = deployment.plan.revision + 1
        return replace(deployment, plan=plan)

    async def _on_some_worker(
        self,
        spec: DeploymentSpec,
        choose: Callable[[], Eligible],
        attempt: Callable[[Instance, Eligible], Coroutine[Any, Any, _Cut]],
    ) -> _Cut:
        tried: set[tuple[str, int]] = set()
        last: MeshError | None = None
        require: tuple[str, ...] = ()
        lacking = ""
        while True:
            eligible = narrowed(spec, choose(), require, lacking)
            untried = [each for each in eligible.workers if (each.id, each.generation) not in tried]
            if last is not None and not untried:
                raise last
            worker = min(untried, key=lambda each: (self._num_stages(each), each.id))
            tried.add((worker.id, worker.generation))
            try:
                return await self._fleet.while_present(worker, attempt(worker, eligible))
            except _LackingRequirement as error:
                require, lacking = error.require, error.message
                last = error
            except MeshError as error:
                if not error.retriable:
                    raise
                _log.warning("preparation_failed", worker=worker.id, model=spec.name, error=error.message)
                last = error

    def _prepare_request(
        self, spec: DeploymentSpec, source: Artefact, eligible: Eligible, profile_s: float
    ) -> PrepareRequest:
        return PrepareRequest(
            model=source,
            sources=[self._address],
            optimisation=eligible.optimisation.value,
            mode=eligible.mode,
            shapes=spec.shapes,
            profile_s=profile_s,
        )

    async def _fetch_partitions(
        self, worker: Instance, answer: CutResponse, cut_plan: CutPlan, scope: Scope
    ) -> None:
        """Fetches the partitions, so that they are available when that worker is lost."""
        for partition in checked(answer.partitions, cut_plan):
            scope.hold(partition.artefact)
            await fetch_artefact(partition.artefact, self._blobs, [worker.address])

    async def _as_plan(self, cut: _Cut, spec: DeploymentSpec, source: Artefact) -> Plan:
        """Returns the plan of a cut; in mode portable, once other classes of devices have cut the same."""
        difference = cut.answer.largest_difference
        if cut.eligible.mode is CutMode.PORTABLE:
            for candidates in verifiers(cut.worker, cut.survey, cut.plan):
                verifier, other = await self._verified(candidates, cut, spec, source)
                difference = check_agreement(cut.worker.id, cut.answer, verifier.id, other, difference)
        plan = plan_message(
            source,
            cut.eligible,
            cut.survey,
            cut.plan,
            signature=cut.prepared.signature,
            partitions=cut.answer.partitions,
            largest_difference=difference,
            batching=spec.batching,
        )
        plan.require.extend(cut.prepared.require)
        allow_losses(plan, spec, cut.answer)
        return plan

    async def _verified(
        self, candidates: Sequence[Instance], cut: _Cut, spec: DeploymentSpec, source: Artefact
    ) -> tuple[Instance, CutResponse]:
        """Repeats a cut on the first of some workers that completes it."""
        last: MeshError | None = None
        for worker in candidates:
            work = self._cut_by(worker, spec, source, cut.eligible, cut.plan)
            try:
                return worker, await self._fleet.while_present(worker, work)
            except MeshError as error:
                if not error.retriable:
                    raise
                last = error
        assert last is not None, "a class of devices has a worker"
        raise last

    async def _cut_by(
        self,
        worker: Instance,
        spec: DeploymentSpec,
        source: Artefact,
        eligible: Eligible,
        cut_plan: CutPlan,
    ) -> CutResponse:
        async with _control(worker) as stub:
            prepared = await _prepare(stub, self._prepare_request(spec, source, eligible, 0.0))
            return await stub.Cut(_cut_request(prepared, cut_plan))

    def _num_stages(self, worker: Instance) -> int:
        stream = self._fleet.streams.get(WorkerId(worker.id))
        return 0 if stream is None else sum(held.counts for held in stream.holdings.stages.values())


@asynccontextmanager
async def _control(worker: Instance) -> AsyncIterator[WorkerControlStub]:
    """Opens a channel to a worker for the time of the context; raises its errors as they were raised there."""
    try:
        async with open_channel(worker.address) as channel:
            yield WorkerControlStub(channel)
    except grpc.aio.AioRpcError as error:
        found = from_rpc_error(error)
        if isinstance(found, Internal):  # the incident is in that worker's log
            found = Internal(f"worker '{worker.id}': {found.message}")
        raise found from error


async def _prepare(stub: WorkerControlStub, request: PrepareRequest) -> PrepareResponse:
    """Returns the response of a worker that can run the model.

    Raises:
        _LackingRequirement: The worker cannot.
    """
    prepared = await stub.Prepare(request)
    if prepared.lacking:
        raise _LackingRequirement(prepared)
    return prepared


def _cut_request(
    prepared: PrepareResponse, cut_plan: CutPlan, spec: DeploymentSpec | None = None
) -> CutRequest:
    """Returns the request for a cut, with what is to be measured for a normalised spec; None: nothing."""
    direct = [DirectInputs(names=stage.direct_inputs) for stage in cut_plan.stages]
    return CutRequest(
        prepared=prepared.prepared,
        cuts=cut_plan.cuts,
        direct=direct if any(inputs.names for inputs in direct) else [],
        batching=None if spec is None else spec.batching,
        measure_activation_errors=spec is not None and spec.HasField("max_activation_error"),
    )


def _check_same_graph(planned: bytes, found: bytes, worker: str) -> None:
    """Checks that a worker's graph has the same nodes as the planned one, so that cut positions mean the same."""
    if planned == found:
        return
    rows = [
        [(node.name, node.op_type) for node in GraphCosts.from_json(text.decode()).nodes]
        for text in (planned, found)
    ]
    if rows[0] != rows[1]:
        raise CorruptData(
            f"worker '{worker}' made a graph of the model that differs from the planned one: "
            f"{len(rows[1])} nodes instead of {len(rows[0])}, or other nodes"
        )
