"""`onnxmesh drain`: moves every stage off a worker."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.json_output import print_json
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.cli.terminal.progress import progress_steps
from onnxmesh.client import MeshClient
from onnxmesh.errors import DeadlineExceeded
from onnxmesh.v1.mesh_pb2 import DrainProgress


def drain(
    worker: Annotated[
        str, typer.Argument(metavar="WORKER", help="Id of the worker, as in `onnxmesh status`.")
    ],
    undo: Annotated[bool, typer.Option("--undo", help="End the drain: place stages there again.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.001, metavar="SECONDS", help="Time limit for moving its stages.")
    ] = 60.0,
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Move every stage off a worker without an interruption of service, and place none there.

    The worker serves each of its stages until another worker is ready to. A stage that no other worker can hold stays and is
    still served; the command then exits with 1 at its time limit, and the worker stays drained. A drain ends with `--undo`,
    or with the worker's process.

    **Examples**

    ```
    onnxmesh drain worker-1
    onnxmesh drain worker-1 --undo
    ```
    """
    with errors_reported():
        asyncio.run(_drain(mesh, worker, undo, timeout))
    if as_json:
        print_json({"worker": worker, "leaving": not undo})
    else:
        typer.echo(
            f"{worker} accepts stages again" if undo else f"{worker} holds no stages: it can be stopped"
        )


async def _drain(mesh: str, worker: str, undo: bool, timeout_s: float) -> None:
    last = DrainProgress()
    with progress_steps(f"draining {worker}") as steps:

        def progress(step: DrainProgress) -> None:
            nonlocal last
            last = step
            if step.stages and not undo:
                steps.step(_remaining(worker, step))

        async with MeshClient(mesh) as client:
            try:
                await client.drain(worker, progress, undo=undo, timeout=timeout_s)
            except DeadlineExceeded as error:
                state = _remaining(worker, last) if last.stages else f"no reply about {worker}"
                raise DeadlineExceeded(f"after {timeout_s:g} s: {state}; it stays drained") from error


def _remaining(worker: str, step: DrainProgress) -> str:
    """Returns a sentence with the stages that remain on the worker, and why."""
    held = ", ".join(step.stages)
    return f"{worker} still holds {held}" + (f" ({step.reason})" if step.reason else "")
