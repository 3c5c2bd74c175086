"""The state of a mesh as the JSON of `--json`: a contract with programs."""

from __future__ import annotations

from math import isfinite
from typing import Any

from onnxmesh.cli.mesh.sent_tensors import sent_documents
from onnxmesh.v1.frame_pb2 import Load
from onnxmesh.v1.mesh_pb2 import ModelStatus, StatusResponse, TableResponse, WorkerStatus
from onnxmesh.v1.model_pb2 import Plan


def status_document(status: StatusResponse, table: TableResponse | None = None) -> dict[str, Any]:
    """Returns the document of `onnxmesh status --json`; `table` describes the route table of the gateway that answered."""
    return {
        "gateway": gateway_document(table),
        "epoch": status.epoch,
        "models": [model_document(model) for model in status.models],
        "workers": [_worker(worker) for worker in status.workers],
        "gateways": [{"id": gateway.id, "address": gateway.address} for gateway in status.gateways],
    }


def gateway_document(table: TableResponse | None) -> dict[str, Any] | None:
    """Returns the route table of the gateway that answered; None if a scheduler answered."""
    if table is None:
        return None
    return {
        "id": table.gateway,
        "epoch": table.epoch,
        "num_models": table.num_models,
        "num_workers": table.num_workers,
        "stale": table.stale,
        "alone_s": table.alone_ms / 1e3,
        "scheduler": table.scheduler,
        "sent": sent_documents(table.sent),
    }


def model_document(model: ModelStatus) -> dict[str, Any]:
    """Returns the document of `onnxmesh deploy --json`, which is also one model of `status --json`."""
    return {
        "name": model.name,
        "version": model.version,
        "traffic_percent": model.traffic_percent if model.HasField("traffic_percent") else None,
        "state": model.state,
        "reason": model.reason,
        "mode": model.plan.mode,
        "optimisation": model.plan.optimisation,
        "largest_difference": largest_difference(model.plan),
        "objective": model.spec.objective,
        "revision": model.plan.revision,
        "why": model.plan.why,
        "predicted_period_s": model.plan.predicted_period_s,
        "predicted_latency_s": model.plan.predicted_latency_s,
        "replicas": model.spec.replicas,
        "replicate": model.spec.replicate,
        "require": list(model.spec.require),
        "batching": model.spec.batching.mode,
        "max_activation_error": model.spec.max_activation_error
        if model.spec.HasField("max_activation_error")
        else None,
        "activation_errors": {
            each.encoding: each.largest_error if isfinite(each.largest_error) else None
            for each in model.plan.activation_errors.measured
        },
        "stages": [
            {
                "stage": partition.index,
                "num_nodes": partition.num_nodes,
                "weight_bytes": partition.weight_bytes,
                "peak_bytes": partition.peak_bytes,
                "predicted_s": partition.estimated_cost,
                "direct_inputs": list(partition.direct_inputs),
                "batching": {
                    "max_rows": partition.batching.max_rows or 1,
                    "largest_difference": partition.batching.largest_difference,
                    "cpu_class": partition.batching.cpu_class,
                    "why_not": partition.batching.why_not,
                    "not_proven": partition.batching.not_proven,
                },
                "lossy_encodings": list(partition.lossy_encodings),
                "devices": [{"kind": devices.kind, "count": devices.count} for devices in partition.devices],
                "digest": partition.artefact.digest,
                "replicas": [
                    {"worker": replica.worker, "state": replica.state, "reason": replica.reason}
                    for replica in model.replicas
                    if replica.stage == partition.index
                ],
            }
            for partition in model.plan.partitions
        ],
    }


def largest_difference(plan: Plan) -> float | None:
    """Returns the largest difference from the uncut model; None if it was not measured."""
    return plan.largest_difference if plan.largest_difference >= 0 else None


def _worker(worker: WorkerStatus) -> dict[str, Any]:
    return {
        "id": worker.id,
        "address": worker.address,
        "generation": worker.generation,
        "tags": list(worker.tags),
        "attributes": dict(worker.attributes),
        "draining": worker.draining,
        "leaving": worker.leaving,
        "ejections": [
            {"stage": each.stage, "gateway": each.gateway, "remaining_ms": each.remaining_ms}
            for each in worker.ejections
        ],
        "load": _load(worker.load),
        "sent": sent_documents(worker.load.sent),
        "heard_load": _load(worker.observed_load) if worker.HasField("observed_load") else None,
    }


def _load(load: Load) -> dict[str, Any]:
    return {
        "queued": load.queued,
        "running": load.running,
        "in_flight_bytes": load.in_flight_bytes,
        "resident_bytes": load.resident_bytes,
        "completed": load.completed,
        "dropped": load.dropped,
        "failed": load.failed,
    }
