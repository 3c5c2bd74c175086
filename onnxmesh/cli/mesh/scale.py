"""`onnxmesh scale`: changes the number of replicas."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from onnxmesh.cli.mesh.status_document import model_document
from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.json_output import print_json
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.cli.terminal.progress import progress_steps
from onnxmesh.client import MeshClient
from onnxmesh.quantities import count_text
from onnxmesh.v1.mesh_pb2 import ModelStatus


def scale(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    replicas: Annotated[
        int,
        typer.Argument(
            metavar="R",
            min=1,
            help="Number of replicas of each stage; the minimum if the model was deployed with auto.",
        ),
    ],
    version: Annotated[int, typer.Option(min=0, help="Version number; 0: all versions.")] = 0,
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Change the number of replicas of each stage of a model, without an interruption of service.

    **Examples**

    ```
    onnxmesh scale resnet50 3
    onnxmesh scale chat 1 --version 2
    ```
    """
    with errors_reported():
        scaled = asyncio.run(_scale(mesh, name, replicas, version))
    if as_json:
        print_json(model_document(scaled))
    else:
        typer.echo(f"{name} has {count_text(replicas, 'replica')} of each stage")


async def _scale(mesh: str, name: str, replicas: int, version: int) -> ModelStatus:
    with progress_steps(f"scaling {name}") as progress:
        async with MeshClient(mesh) as client:
            return await client.scale(name, replicas, version, lambda step: progress.step(step.message))
