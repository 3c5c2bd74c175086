"""`onnxmesh status`."""

from __future__ import annotations

import asyncio
import json

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from onnxmesh.cli.mesh.activation_words import activation_words
from onnxmesh.cli.mesh.sent_tensors import sent_table
from onnxmesh.cli.mesh.status_document import gateway_document, largest_difference, status_document
from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.cli.terminal.outcome import reported
from onnxmesh.client import MeshClient
from onnxmesh.errors import Internal, MeshError
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.v1.mesh_pb2 import ModelStatus, StatusResponse, TableResponse, WorkerStatus
from onnxmesh.v1.model_pb2 import Partition, Plan

_COLOURS = {"READY": "green", "LOADING": "yellow"}


def status(mesh: Mesh = DEFAULT_MESH, as_json: Json = False) -> None:
    """Show models, versions and stages, where each is, its state, and every worker's load.

    Where large tensors went to other hosts, it shows by which ways, how they were written there, and what that spared.

    **Examples**

        onnxmesh status
        onnxmesh status --json | python -m json.tool
    """
    console = output()
    with reported():
        table, found = asyncio.run(_status(mesh))
        if isinstance(found, MeshError):
            # What the gateway knows without a scheduler is worth telling, too.
            if table is not None and as_json:
                typer.echo(json.dumps({"gateway": gateway_document(table)}))
            elif table is not None:
                console.print(gateway_sentence(table), markup=False, highlight=False)
            raise found
    if as_json:
        typer.echo(json.dumps(status_document(found, table)))
        return
    console.print(models_table(found))
    for model in found.models:
        console.print(plan_sentence(model), markup=False, highlight=False)
    console.print(workers_table(found))
    if (sent := sent_table(found, table)) is not None:
        console.print(sent)
    gateways = ", ".join(gateway.address for gateway in found.gateways) or "none"
    console.print(f"gateways: {gateways}", markup=False)
    if table is not None:
        console.print(gateway_sentence(table), markup=False, highlight=False)


def models_table(status: StatusResponse) -> Table:
    """One row for each stage of each model version."""
    table = Table("model", "version", "traffic", "state", "stage", "nodes", "weights", title="Models")
    for column in ("meant for", "workers"):
        table.add_column(column)
    for model in status.models:
        colour = _COLOURS.get(model.state, "red")
        reason = f"\n{escape(model.reason)}" if model.reason else ""
        state = f"[{colour}]{model.state}[/{colour}]{reason}"
        first = (escape(model.name), str(model.version), _traffic(model), state)
        for partition in model.plan.partitions:
            held = _where(model, partition.index)
            figures = (str(partition.index), str(partition.num_nodes), decimal(partition.weight_bytes))
            table.add_row(*first, *figures, _meant_for(partition), held)
            first = ("", "", "", "")
        table.add_section()
    if not status.models:
        table.add_row("none yet: onnxmesh deploy MODEL.onnx")
    return table


def workers_table(status: StatusResponse) -> Table:
    """One row for each worker."""
    table = Table(title="Workers")
    for column in ("worker", "address", "tags"):
        table.add_column(column, overflow="fold")
    for column in ("queued + running", "in flight", "memory", "done", "dropped + failed"):
        table.add_column(column, justify="right")
    for worker in status.workers:
        load = worker.load
        table.add_row(
            escape(worker.id)
            + _mark(worker)
            + "".join(f"\n[red]{escape(each)}[/red]" for each in ejected(worker)),
            worker.address,
            escape(" ".join(worker.tags)),
            f"{load.queued} + {load.running}",
            decimal(load.in_flight_bytes),
            decimal(load.resident_bytes),
            str(load.completed),
            f"{load.dropped} + {load.failed}",
        )
    if not status.workers:
        table.add_row("none: python -m services.worker --scheduler HOST:PORT")
    return table


def ejected(worker: WorkerStatus) -> list[str]:
    """Says who keeps which of a worker's stages out of routes, and for how long."""
    return [
        f"{each.stage} ejected by {each.gateway} for {each.remaining_ms / 1e3:.1f} s more"
        for each in worker.ejections
    ]


def plan_sentence(model: ModelStatus) -> str:
    """Says how a model is cut, what is expected of it, and why."""
    plan = model.plan
    words = [f"mode {plan.mode or 'exact'}, optimisation {plan.optimisation}"]
    if plan.mode == CutMode.PORTABLE:
        difference = largest_difference(plan)
        shown = "was not measured" if difference is None else f"is {difference:.2g}"
        words = [f"mode portable, its largest difference from the whole model {shown}"]
    if plan.predicted_period_s > 0:
        words.append(
            f"{1 / plan.predicted_period_s:.3g} answers a second predicted, "
            f"{plan.predicted_latency_s * 1e3:.3g} ms each"
        )
    words.append(_batching_words(plan))
    if told := activation_words(model):
        words.append(told)
    if plan.revision:
        words.append(f"planned anew {plan.revision} time{'s' if plan.revision > 1 else ''}")
    if plan.why:
        words.append(plan.why.rstrip("."))
    return f"{model.name} version {model.version}: {'; '.join(words)}"


def gateway_sentence(table: TableResponse) -> str:
    """Says what a gateway routes by, and whether a scheduler still tells it of changes."""
    size = f"{table.num_models} model version(s) on {table.num_workers} worker(s)"
    routes = f"by table {table.epoch}, {size}" if table.epoch else "by no table yet"
    scheduler = f" {table.scheduler}" if table.scheduler else ""
    if table.stale:
        return f"gateway {table.gateway} routes {routes}: no scheduler{scheduler} since {table.alone_ms / 1e3:.1f} s"
    return f"gateway {table.gateway} routes {routes}, as scheduler{scheduler} says"


def _traffic(model: ModelStatus) -> str:
    """Returns its part of the requests that name no version."""
    return f"{model.traffic_percent} %" if model.HasField("traffic_percent") else ""


def _mark(worker: WorkerStatus) -> str:
    """Returns what keeps a worker from being given stages."""
    word = "draining" if worker.draining else "leaving" if worker.leaving else ""
    return f" [yellow]({word})[/yellow]" if word else ""


def _batching_words(plan: Plan) -> str:
    """Says which stages run requests together, and how far that is from running them alone."""
    together = [each.batching for each in plan.partitions if each.batching.max_rows > 1]
    if not together:
        why = next((each.batching.why_not for each in plan.partitions if each.batching.why_not), "")
        return f"requests run alone{f', for {why}' if why else ''}"
    alone = [str(each.index) for each in plan.partitions if each.batching.max_rows < 2]
    difference = max(found.largest_difference for found in together)
    return (
        f"up to {max(found.max_rows for found in together)} rows run together"
        + (f", but for stage{'s' if len(alone) > 1 else ''} {', '.join(alone)}" if alone else "")
        + (f", within {difference:.2g} of single runs" if difference else ", with the bits of single runs")
    )


def _meant_for(partition: Partition) -> str:
    """Returns the kinds of workers that a plan means a stage for."""
    return "\n".join(
        escape(devices.kind if devices.count == 1 else f"{devices.count} x {devices.kind}")
        for devices in partition.devices
    )


def _where(model: ModelStatus, stage: int) -> str:
    lines = []
    for replica in model.replicas:
        if replica.stage == stage:
            colour = _COLOURS.get(replica.state, "red")
            reason = f" {escape(replica.reason)}" if replica.reason else ""
            lines.append(f"{escape(replica.worker)} [{colour}]{replica.state}[/{colour}]{reason}")
    return "\n".join(lines) or "[red]nowhere[/red]"


async def _status(mesh: str) -> tuple[TableResponse | None, StatusResponse | MeshError]:
    async with MeshClient(mesh) as client:
        try:
            table = await client.route_table()
        except Internal:
            table = None  # a scheduler was asked itself
        try:
            return table, await client.status()
        except MeshError as error:
            return table, error
