"""From a model to a plan whose partitions are here: a worker does the work on the graph."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc.aio
import structlog

from onnxmesh.discovery.base import Instance
from onnxmesh.errors import InvalidPlan, MeshError
from onnxmesh.ids import WorkerId
from onnxmesh.planning.cluster import Cluster, DeviceKind
from onnxmesh.planning.graph_costs import GraphCosts
from onnxmesh.planning.plan import Demand
from onnxmesh.planning.plan import Plan as CutPlan
from onnxmesh.planning.planner import make_plan
from onnxmesh.rpc.channel import open_channel
from onnxmesh.rpc.status import from_rpc_error
from onnxmesh.store.artefact import check_artefact
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.fetch import fetch_artefact
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.mesh_pb2 import DeployProgress
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan
from onnxmesh.v1.worker_pb2 import CutRequest, PrepareRequest, PrepareResponse
from onnxmesh.v1.worker_pb2_grpc import WorkerControlStub
from services.scheduler.eligibility import Eligible, eligible_workers
from services.scheduler.fleet import Fleet
from services.scheduler.retention import Scope

Report = Callable[["DeployProgress.Phase.ValueType", str], Awaitable[None]]
"""Tells the client how far its deploy is."""

_log = structlog.get_logger(__name__)


class Preparation:
    """Has models prepared and cut by workers.

    Args:
        fleet: The workers.
        blobs: Where the partitions are brought.
        address: Where workers fetch the model from this scheduler.
    """

    def __init__(self, fleet: Fleet, blobs: BlobFolder, address: str) -> None:
        self._fleet = fleet
        self._blobs = blobs
        self._address = address

    def check(self, spec: DeploymentSpec) -> None:
        """Says at once that a deployment cannot be run by who is in the mesh now.

        Raises:
            Unsatisfiable: No worker can run it (FAILED_PRECONDITION).
        """
        eligible_workers(spec, self._fleet.candidates())

    async def plan(self, spec: DeploymentSpec, source: Artefact, scope: Scope, report: Report) -> Plan:
        """Returns a plan for the model; its partitions' blobs are here and held in `scope`.

        A worker that dies over it is replaced by another; each is tried once.

        Raises:
            Unsatisfiable: No worker can run the deployment (FAILED_PRECONDITION).
            MeshError: The worker refused the model or the cut: `InvalidModel`, `InvalidPlan` and others.
            Unavailable: Every worker that was tried died (UNAVAILABLE).
        """
        tried: set[tuple[str, int]] = set()
        last: MeshError | None = None
        while True:
            eligible = eligible_workers(spec, self._fleet.candidates())
            untried = [each for each in eligible.workers if (each.id, each.generation) not in tried]
            if last is not None and not untried:
                raise last
            worker = min(untried, key=lambda each: (self._num_stages(each), each.id))
            tried.add((worker.id, worker.generation))
            try:
                return await self._fleet.while_present(
                    worker, self._on(worker, eligible, spec, source, scope, report)
                )
            except MeshError as error:
                if not error.retriable:
                    raise
                _log.warning("preparation_failed", worker=worker.id, model=spec.name, error=error.message)
                last = error

    async def _on(
        self,
        worker: Instance,
        eligible: Eligible,
        spec: DeploymentSpec,
        source: Artefact,
        scope: Scope,
        report: Report,
    ) -> Plan:
        level = eligible.optimisation.value
        await report(DeployProgress.PREPARING, f"optimising at level '{level}' on {worker.id}")
        try:
            async with open_channel(worker.address) as channel:
                stub = WorkerControlStub(channel)
                prepared = await stub.Prepare(
                    PrepareRequest(model=source, sources=[self._address], optimisation=level)
                )
                cut_plan = await in_thread(_cut_plan, prepared, spec.stages, eligible)
                await report(DeployProgress.CUTTING, cut_plan.why)
                answer = await stub.Cut(CutRequest(prepared=prepared.prepared, cuts=cut_plan.cuts))
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        partitions = _checked(list(answer.partitions), cut_plan)
        for partition in partitions:
            scope.hold(partition.artefact)
            await fetch_artefact(partition.artefact, self._blobs, [worker.address])
        return Plan(
            optimisation=level,
            source_digest=source.digest,
            signature=prepared.signature,
            partitions=partitions,
            cpu_class=eligible.cpu_class,
        )

    def _num_stages(self, worker: Instance) -> int:
        link = self._fleet.links.get(WorkerId(worker.id))
        return 0 if link is None else sum(held.counts for held in link.holdings.stages.values())


def _cut_plan(prepared: PrepareResponse, num_stages: int, eligible: Eligible) -> CutPlan:
    profile = GraphCosts.from_json(prepared.costs.decode())
    cluster = Cluster((DeviceKind("worker", len(eligible.workers), memory_bytes=eligible.memory_bytes),))
    return make_plan(profile, cluster, Demand(num_stages=num_stages or None, share=True))


def _checked(partitions: list[Partition], cut_plan: CutPlan) -> list[Partition]:
    if [partition.index for partition in partitions] != list(range(len(cut_plan.stages))):
        raise InvalidPlan(
            f"{len(cut_plan.stages)} stages were planned, the worker cut "
            f"{[partition.index for partition in partitions]}"
        )
    for partition, estimate in zip(partitions, cut_plan.stages, strict=True):
        check_artefact(partition.artefact)
        if not partition.estimated_cost:
            partition.estimated_cost = estimate.compute_s
    return partitions
