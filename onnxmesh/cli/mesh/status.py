"""`onnxmesh status`: models, workers and gateways of a mesh."""

from __future__ import annotations

import asyncio

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from onnxmesh.cli.mesh.activation_error_text import activation_error_text
from onnxmesh.cli.mesh.batching_text import batching_text
from onnxmesh.cli.mesh.sent_tensors import sent_table
from onnxmesh.cli.mesh.status_document import gateway_document, largest_difference, status_document
from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.json_output import print_json
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.client import MeshClient
from onnxmesh.errors import Internal, MeshError
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.quantities import TIMES, count_text, rate_text, time_text
from onnxmesh.v1.mesh_pb2 import ModelStatus, StatusResponse, TableResponse, WorkerStatus
from onnxmesh.v1.model_pb2 import Partition

_COLOURS = {"READY": "green", "LOADING": "yellow"}


def status(mesh: Mesh = DEFAULT_MESH, as_json: Json = False) -> None:
    """Show models, versions and stages with their workers and states, and the load of each worker.

    If large tensors were sent to other hosts, it also shows the links, the encodings and the share of bytes saved.

    **Examples**

    ```
    onnxmesh status
    onnxmesh status --json | python -m json.tool
    ```
    """
    console = output()
    with errors_reported():
        table, found = asyncio.run(_status(mesh))
        if isinstance(found, MeshError):
            # A gateway without a scheduler still reports its route table.
            if table is not None and as_json:
                print_json({"gateway": gateway_document(table)})
            elif table is not None:
                console.print(gateway_sentence(table), markup=False, highlight=False)
            raise found
    if as_json:
        print_json(status_document(found, table))
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
    """Returns one row for each stage of each model version."""
    table = Table("model", "version", "traffic", "state", "stage", "nodes", "weights", title="Models")
    for column in ("planned for", "workers"):
        table.add_column(column)
    for model in status.models:
        colour = _COLOURS.get(model.state, "red")
        reason = f"\n{escape(model.reason)}" if model.reason else ""
        state = f"[{colour}]{model.state}[/{colour}]{reason}"
        first = (escape(model.name), str(model.version), _traffic(model), state)
        for partition in model.plan.partitions:
            held = _where(model, partition.index)
            figures = (str(partition.index), str(partition.num_nodes), decimal(partition.weight_bytes))
            table.add_row(*first, *figures, _planned_for(partition), held)
            first = ("", "", "", "")
        table.add_section()
    if not status.models:
        table.add_row("none; deploy one with onnxmesh deploy MODEL.onnx")
    return table


def workers_table(status: StatusResponse) -> Table:
    """Returns one row for each worker."""
    table = Table(title="Workers")
    for column in ("worker", "address", "tags"):
        table.add_column(column, overflow="fold")
    for column in ("queued + running", "in flight", "memory", "completed", "dropped + failed"):
        table.add_column(column, justify="right")
    for worker in status.workers:
        load = worker.load
        table.add_row(
            escape(worker.id)
            + _mark(worker)
            + "".join(f"\n[red]{escape(each)}[/red]" for each in ejection_texts(worker)),
            worker.address,
            escape(" ".join(worker.tags)),
            f"{load.queued} + {load.running}",
            decimal(load.in_flight_bytes),
            decimal(load.resident_bytes),
            str(load.completed),
            f"{load.dropped} + {load.failed}",
        )
    if not status.workers:
        table.add_row("none; start one with python -m services.worker --scheduler HOST:PORT")
    return table


def ejection_texts(worker: WorkerStatus) -> list[str]:
    """Returns one line for each stage of a worker that a gateway has ejected, with the remaining time."""
    return [
        f"{each.stage} ejected by {each.gateway} for another {each.remaining_ms / 1e3:.1f} s"
        for each in worker.ejections
    ]


def plan_sentence(model: ModelStatus) -> str:
    """Returns one sentence with a model's cut, its predicted performance and the planner's reason."""
    plan = model.plan
    clauses = [f"mode {plan.mode or 'exact'}, optimisation {plan.optimisation}"]
    if plan.mode == CutMode.PORTABLE:
        difference = largest_difference(plan)
        measured = "was not measured" if difference is None else f"is {difference:.2g}"
        clauses = [f"mode portable, largest difference from the uncut model {measured}"]
    if plan.predicted_period_s > 0:
        clauses.append(
            f"predicted {rate_text(1 / plan.predicted_period_s, 'requests')} "
            f"and {time_text(plan.predicted_latency_s)} latency"
        )
    clauses.append(batching_text(plan))
    if error_text := activation_error_text(model):
        clauses.append(error_text)
    if plan.revision:
        clauses.append(f"replanned {count_text(plan.revision, 'time')}")
    if plan.why:
        clauses.append(plan.why.rstrip("."))
    return f"{model.name} version {model.version}: {'; '.join(clauses)}"


def gateway_sentence(table: TableResponse) -> str:
    """Returns one sentence with a gateway's route table and whether a scheduler still updates it."""
    size = f"{count_text(table.num_models, 'model version')} on {count_text(table.num_workers, 'worker')}"
    routes = f"route table {table.epoch}, {size}" if table.epoch else "no route table yet"
    scheduler = f"scheduler {table.scheduler}".rstrip()
    if table.stale:
        return f"gateway {table.gateway}: {routes}; {scheduler} unreachable for {table.alone_ms / 1e3:.1f} s"
    return f"gateway {table.gateway}: {routes}; updated by {scheduler}"


def _traffic(model: ModelStatus) -> str:
    """Returns the version's share of the requests without a version."""
    return f"{model.traffic_percent} %" if model.HasField("traffic_percent") else ""


def _mark(worker: WorkerStatus) -> str:
    """Returns the state that keeps new stages off a worker, as a suffix of its id."""
    state = "draining" if worker.draining else "leaving" if worker.leaving else ""
    return f" [yellow]({state})[/yellow]" if state else ""


def _planned_for(partition: Partition) -> str:
    """Returns the kinds of workers that a stage was planned for."""
    return "\n".join(
        escape(devices.kind if devices.count == 1 else f"{devices.count} {TIMES} {devices.kind}")
        for devices in partition.devices
    )


def _where(model: ModelStatus, stage: int) -> str:
    lines = []
    for replica in model.replicas:
        if replica.stage == stage:
            colour = _COLOURS.get(replica.state, "red")
            reason = f" {escape(replica.reason)}" if replica.reason else ""
            lines.append(f"{escape(replica.worker)} [{colour}]{replica.state}[/{colour}]{reason}")
    return "\n".join(lines) or "[red]none[/red]"


async def _status(mesh: str) -> tuple[TableResponse | None, StatusResponse | MeshError]:
    async with MeshClient(mesh) as client:
        try:
            table = await client.route_table()
        except Internal:
            table = None  # the address is a scheduler's
        try:
            return table, await client.status()
        except MeshError as error:
            return table, error
