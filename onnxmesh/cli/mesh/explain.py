"""`onnxmesh explain`: shows how a gateway would route a request."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson
from rich.markup import escape
from rich.table import Table

from onnxmesh.cli.mesh.batching_text import batching_text
from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh, Prefer, Require
from onnxmesh.client import MeshClient
from onnxmesh.errors import MeshError
from onnxmesh.v1.mesh_pb2 import ExplainRequest, ExplainResponse, ReplicaVerdict, StageExplanation
from onnxmesh.v1.model_pb2 import Plan

_STATUS_TIMEOUT_S = 2.0
"""Time limit for the plan, which the scheduler has; the gateway explains without it."""


def explain(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[
        str, typer.Option(help="Version number; default: the newest with a complete route.")
    ] = "",
    require: Require = None,
    prefer: Prefer = None,
    zone: Annotated[
        str | None,
        typer.Option("--from", metavar="ZONE", help="Zone of the request's origin; default: the gateway's."),
    ] = None,
    region: Annotated[str, typer.Option(help="The region of that zone.")] = "",
    timeout_ms: Annotated[
        float | None, typer.Option(min=0.001, help="Time until the request's deadline; default: no deadline.")
    ] = None,
    session: Annotated[str, typer.Option(metavar="ID", help="Session of the request; default: none.")] = "",
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Show how a request would be routed now: the workers that each rule filters out, the scores of the others, the pick.

    The gateway answers from its own route table and measurements, with the code that routes its requests. A transfer time
    with a ~ is estimated from the worker's zone and region; the others are measured. The last line says which stages run
    batches of several requests, or why not.

    **Examples**

    ```
    onnxmesh explain resnet50
    onnxmesh explain chat --require gpu --prefer zone=eu:50 --from eu
    ```
    """
    with errors_reported():
        request = ExplainRequest(
            name=name,
            version=version,
            require=require or [],
            prefer=prefer or [],
            from_zone=zone,
            from_region=region,
            session=session,
            remaining_us=None if timeout_ms is None else round(timeout_ms * 1e3),
        )
        explanation, plan = asyncio.run(_explain(mesh, request, with_plan=not as_json))
    if as_json:
        typer.echo(
            MessageToJson(
                explanation,
                indent=None,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
        )
        return
    console = output()
    for stage in explanation.stages:
        console.print(stage_table(stage))
    console.print(f"from gateway {explanation.gateway}, for version {explanation.version}", markup=False)
    if plan is not None:
        console.print(batching_text(plan), markup=False, highlight=False)


def stage_table(stage: StageExplanation) -> Table:
    """Returns one row for each replica: the pick, then the others by score, then those that were filtered out."""
    table = Table(title=f"{escape(stage.stage)} → {escape(stage.outcome)}", title_justify="left")
    table.add_column("worker", overflow="fold")
    table.add_column("tier", justify="right")
    for column in ("transfer", "wait", "compute", "caution", "bonus", "score"):
        table.add_column(f"{column} ms", justify="right")
    table.add_column("why", overflow="fold")
    for replica in sorted(stage.replicas, key=_rank):
        style = "green" if replica.picked else "dim" if replica.rule else ""
        parts = [
            f"{part / 1e3:.2f}"
            for part in (
                replica.wait_us,
                replica.compute_us,
                replica.caution_us,
                replica.bonus_us,
                replica.score_us,
            )
        ]
        transfer = f"{'' if replica.transfer_measured else '~'}{replica.transfer_us / 1e3:.2f}"
        why = (
            f"{replica.rule}: {replica.why}" if replica.rule else "picked" if replica.picked else replica.why
        )
        table.add_row(escape(replica.worker), str(replica.tier), transfer, *parts, escape(why), style=style)
    return table


def _rank(replica: ReplicaVerdict) -> tuple[bool, bool, int, str]:
    return (not replica.picked, bool(replica.rule), replica.score_us, replica.worker)


async def _explain(
    mesh: str, request: ExplainRequest, *, with_plan: bool
) -> tuple[ExplainResponse, Plan | None]:
    """Returns the explanation, and the plan of its version where a scheduler is reachable."""
    async with MeshClient(mesh) as client:
        explanation = await client.explain(request)
        if not with_plan:
            return explanation, None
        try:
            found = await client.status(_STATUS_TIMEOUT_S)
        except MeshError:
            return explanation, None
    wanted = (request.name, explanation.version)
    return explanation, next(
        (each.plan for each in found.models if (each.name, each.version) == wanted), None
    )
