"""`onnxmesh drain`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console

from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.cli.terminal.outcome import reported
from onnxmesh.client import MeshClient
from onnxmesh.errors import DeadlineExceeded
from onnxmesh.v1.mesh_pb2 import DrainProgress


def drain(
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="Its id, as `onnxmesh status` shows it.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let it be given stages again.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.001, metavar="SECONDS", help="How long to wait until it is empty.")
    ] = 60.0,
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Move everything off a worker, without a gap in service, and keep it empty.

    It serves what it holds until that is ready elsewhere. What nobody else can take stays, and is served on; the command
    then ends with 1 when its time is over, and the worker stays marked. The mark ends with `--undo`, or with the process.

    **Examples**

        onnxmesh drain worker-1
        onnxmesh drain worker-1 --undo
    """
    with reported():
        asyncio.run(_drain(mesh, worker, undo, timeout))
    if as_json:
        typer.echo(json.dumps({"worker": worker, "leaving": not undo}))
    else:
        typer.echo(f"{worker} may be given stages again" if undo else f"{worker} is empty: it can be stopped")


async def _drain(mesh: str, worker: str, undo: bool, timeout_s: float) -> None:
    console = Console(stderr=True)
    last = DrainProgress()
    with console.status(f"draining {worker} …", spinner="dots") as shown:

        def progress(step: DrainProgress) -> None:
            nonlocal last
            last = step
            if step.stages:
                text = _sentence(worker, step)
                shown.update(f"{text} …")
                if not console.is_terminal:
                    console.print(text, highlight=False, markup=False)

        async with MeshClient(mesh) as client:
            try:
                await client.drain(worker, progress, undo=undo, timeout=timeout_s)
            except DeadlineExceeded as error:
                what = _sentence(worker, last) if last.stages else f"{worker} has not answered"
                raise DeadlineExceeded(f"after {timeout_s:g} s {what}; it stays marked") from error


def _sentence(worker: str, step: DrainProgress) -> str:
    """Says which stages are still there, and why."""
    held = ", ".join(step.stages)
    return f"{worker} still holds {held}" + (f" ({step.reason})" if step.reason else "")
