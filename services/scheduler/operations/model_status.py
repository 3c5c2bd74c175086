"""Status of one deployment, from its plan, the workers and the placement. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from onnxmesh.ids import ModelKey, StageKey
from onnxmesh.state.base import Deployment
from onnxmesh.v1.mesh_pb2 import ModelStatus, ReplicaStatus
from services.scheduler.desired.desired_stages import DesiredStage, desired_stages
from services.scheduler.placement.placement import Placement
from services.scheduler.workers.eligibility import can_run, requirements_text
from services.scheduler.workers.holdings import Held, HoldingState
from services.scheduler.workers.worker_view import WorkerView


def model_status(
    deployment: Deployment,
    workers: Iterable[WorkerView],
    placement: Placement,
    published: frozenset[ModelKey],
    *,
    note: str = "",
    traffic_percent: int | None = None,
) -> ModelStatus:
    """Returns the status of one deployment: READY as soon as every stage has one replica that serves.

    Args:
        deployment: The deployment.
        workers: Those that accept commands, with what they hold.
        placement: Which workers serve each stage, and what there is no memory for.
        published: Models that were complete before: without a replica these are UNAVAILABLE, others LOADING.
        note: Appended to the reason.
        traffic_percent: Its percentage of the requests that name no version; None: versions do not share them.
    """
    key = (deployment.name, deployment.version)
    views = sorted(workers, key=lambda worker: worker.id)
    status = ModelStatus(
        name=deployment.name,
        version=deployment.version,
        spec=deployment.spec,
        plan=deployment.plan,
        traffic_percent=traffic_percent,
    )
    state, reasons = "READY", []
    for partition, stage in zip(deployment.plan.partitions, desired_stages(deployment), strict=True):
        serving = placement.routed.get(stage.key, ())
        lack = _lack(placement, stage.key)
        status.replicas.extend(_replicas(partition.index, partition.artefact.digest, stage.key, views))
        if not serving:
            state = "UNAVAILABLE" if key in published else "LOADING"
            reasons.append(f"stage {partition.index} has no replica{lack or _why(stage, views)}")
        elif len(serving) < stage.replicas:
            reasons.append(f"stage {partition.index} has {len(serving)} of {stage.replicas} replicas{lack}")
    if note:
        reasons.append(note)
    status.state = state
    status.reason = "; ".join(reasons)
    return status


def _lack(placement: Placement, stage: StageKey) -> str:
    """Returns that memory keeps a stage from having a replica, as the end of a sentence; else empty."""
    lacking = placement.lacking_bytes.get(stage)
    return (
        "" if lacking is None else f": no worker has the memory for it, the best lacks {lacking / 1e6:.1f} MB"
    )


def _replicas(
    index: int, digest: str, stage: StageKey, workers: Iterable[WorkerView]
) -> Iterable[ReplicaStatus]:
    for worker in workers:
        held = worker.stages.get(stage)
        if held is not None and held.digest == digest and held.state is not HoldingState.EVICTING:
            yield ReplicaStatus(stage=index, worker=worker.id, state=held.state.value, reason=_reason(held))


def _why(stage: DesiredStage, workers: list[WorkerView]) -> str:
    """Returns what keeps a stage from having a replica, as the end of a sentence."""
    if not workers:
        return ": no worker is there"
    able = [
        worker
        for worker in workers
        if can_run(stage.require, stage.cpu_class, worker.tags, worker.attributes)
    ]
    if not able:
        return f": no worker satisfies {requirements_text(stage.require, stage.cpu_class)}"
    for worker in able:
        held = worker.stages.get(stage.key)
        if held is not None and held.state is HoldingState.FAILED:
            return f": {_reason(held)} on {worker.id}"
    return ""


def _reason(held: Held) -> str:
    return f"{held.reason}: {held.message}" if held.state is HoldingState.FAILED else ""
