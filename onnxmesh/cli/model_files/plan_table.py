"""A plan as a table and a few sentences."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from onnxmesh.cli.model_files.plan_profile import times_text
from onnxmesh.cli.model_files.plan_report import PlanReport
from onnxmesh.model.plan import StagePlan
from onnxmesh.pictures.plan_facts import devices_text
from onnxmesh.quantities import bytes_text, rate_text, speed_text, time_text


def plan_table(report: PlanReport) -> Table:
    """Returns one row for each stage; the slowest is marked."""
    plan = report.plan
    title = f"{escape(report.model.name)} planned for {plan.objective.value}, {report.model.mode.value} mode"
    table = Table("stage", title=title)
    table.add_column("devices", overflow="fold")
    for column in ("nodes", "weights", "peak memory", "compute", "transfer", "period", "share"):
        table.add_column(column, justify="right", no_wrap=column != "peak memory")
    total_s = sum(stage.compute_s for stage in plan.stages) or 1.0
    for index, stage in enumerate(plan.stages):
        slowest = index == plan.bottleneck and len(plan.stages) > 1
        table.add_row(
            f"{index}{' ◀ slowest' if slowest else ''}",
            escape(devices_text(stage)),
            _nodes(stage),
            bytes_text(stage.weight_bytes),
            _memory(report, stage),
            time_text(stage.compute_s),
            f"{bytes_text(stage.boundary_bytes)} in {time_text(stage.transfer_s)}"
            if stage.transfer_s
            else "",
            time_text(stage.period_s),
            f"{stage.compute_s / total_s:.0%}",
            style="bold" if slowest else "",
        )
    return table


def plan_sentences(report: PlanReport) -> Iterator[str]:
    """Yields the plan's reason, its predictions, its bottleneck and the source of its times."""
    plan, whole = report.plan, report.plan.whole
    yield plan.why
    uncut = f"uncut on one '{whole.kind}'"
    if not whole.fits:
        uncut += f" (which lacks the {bytes_text(whole.peak_bytes)} for it)"
    if report.throughput_ratio:
        speed = speed_text(report.throughput_ratio)
        yield f"throughput: {rate_text(1 / plan.period_s, 'requests')}, {speed} {uncut}"
    if report.latency_ratio:
        speed = speed_text(1 / report.latency_ratio)
        latency = f"{time_text(plan.latency_s)}, {speed} uncut ({time_text(whole.compute_s)})"
        yield f"latency of a single request: {latency}"
    stage = plan.stages[plan.bottleneck]
    limit = f"limited by stage {plan.bottleneck} on {devices_text(stage)}, {time_text(stage.period_s)}"
    yield f"{limit}: {report.relief}" if report.relief else limit
    for index, each in enumerate(plan.stages):
        if each.direct_inputs:
            yield f"stage {index} receives {', '.join(each.direct_inputs)} directly from the gateway"
    path = report.times.profile_path
    yield f"times are {times_text(report.times.sources)}" + (
        f" ({path})" if path else "; `onnxmesh profile` measures them"
    )


def _nodes(stage: StagePlan) -> str:
    num_nodes = stage.end - stage.start
    return (
        f"{num_nodes} ({stage.start} to {stage.end - 1})" if num_nodes > 1 else f"{num_nodes} ({stage.start})"
    )


def _memory(report: PlanReport, stage: StagePlan) -> str:
    bounds = [report.cluster.kind(name).memory_bytes for name, _ in stage.devices]
    bound = min((each for each in bounds if each is not None), default=None)
    return bytes_text(stage.peak_bytes) + (f" of {bytes_text(bound)}" if bound is not None else "")
