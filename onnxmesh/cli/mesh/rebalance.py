"""`onnxmesh rebalance`: moves stages to where they would be placed now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.json_output import print_json
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.client import MeshClient
from onnxmesh.v1.mesh_pb2 import StageMove


def rebalance(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the moves without making them.")] = False,
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Move stages to where they would be placed now, without an interruption of service.

    When a worker joins, stages are only moved to it where that gains much. This command also makes the moves that gain little.

    **Examples**

    ```
    onnxmesh rebalance --dry-run
    onnxmesh rebalance
    ```
    """
    with errors_reported():
        moves = asyncio.run(_rebalance(mesh, dry_run))
    if as_json:
        document = [
            {"stage": move.stage, "from": move.from_worker, "to": move.to_worker, "why": move.why}
            for move in moves
        ]
        print_json({"moves": document, "dry_run": dry_run})
    elif moves:
        output().print(moves_table(moves, "Stages to move" if dry_run else "Stages moved"))
    else:
        typer.echo("nothing to move")


def moves_table(moves: Iterable[StageMove], title: str) -> Table:
    """Returns one row for each move."""
    table = Table("stage", "from", "to", "why", title=title)
    for move in moves:
        table.add_row(*map(escape, (move.stage, move.from_worker, move.to_worker, move.why)))
    return table


async def _rebalance(mesh: str, dry_run: bool) -> list[StageMove]:
    async with MeshClient(mesh) as client:
        return await client.rebalance(dry_run=dry_run)
