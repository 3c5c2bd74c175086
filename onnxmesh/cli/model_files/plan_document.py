"""The JSON of `onnxmesh plan --json`: a contract with programs. `docs/planning.md` lists the fields."""

from __future__ import annotations

from typing import Any

from onnxmesh.cli.model_files.plan_report import PlanReport


def plan_document(report: PlanReport) -> dict[str, Any]:
    """Returns the document of `onnxmesh plan --json`. Times are in seconds, sizes in bytes."""
    model, plan, whole = report.model, report.plan, report.plan.whole
    return {
        "model": model.name,
        "mode": model.mode.value,
        "optimisation": model.level.value,
        "objective": plan.objective.value,
        "shapes": model.shapes.to_plain(),
        "num_nodes": len(model.costs.nodes),
        "max_stages": model.costs.max_stages,
        "profile": report.times.profile_path or None,
        "times": {
            kind: {"source": source, "device": device or None}
            for kind, (source, device) in report.times.sources.items()
        },
        "devices": [
            {
                "name": kind.name,
                "count": kind.count,
                "memory_bytes": kind.memory_bytes,
                "flops_per_s": kind.speed.flops_per_s,
                "bytes_per_s": kind.speed.bytes_per_s,
                "node_overhead_s": kind.speed.node_overhead_s,
            }
            for kind in report.cluster.kinds
        ],
        "cuts": list(plan.cuts),
        "stages": [
            {
                "stage": index,
                "start": stage.start,
                "end": stage.end,
                "devices": [{"kind": kind, "count": count} for kind, count in stage.devices],
                "replicas": stage.num_replicas,
                "compute_s": stage.compute_s,
                "transfer_s": stage.transfer_s,
                "period_s": stage.period_s,
                "boundary_bytes": stage.boundary_bytes,
                "weight_bytes": stage.weight_bytes,
                "peak_bytes": stage.peak_bytes,
                "direct_inputs": list(stage.direct_inputs),
            }
            for index, stage in enumerate(plan.stages)
        ],
        "bottleneck": plan.bottleneck,
        "relief": report.relief or None,
        "period_s": plan.period_s,
        "throughput_per_s": 1 / plan.period_s if plan.period_s > 0 else None,
        "latency_s": plan.latency_s,
        "whole": {
            "kind": whole.kind,
            "compute_s": whole.compute_s,
            "peak_bytes": whole.peak_bytes,
            "fits": whole.fits,
        },
        "throughput_ratio": report.throughput_ratio,
        "latency_ratio": report.latency_ratio,
        "why": plan.why,
    }
