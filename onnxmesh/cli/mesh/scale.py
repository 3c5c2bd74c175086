"""`onnxmesh scale`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console

from onnxmesh.cli.mesh.status_document import model_document
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.cli.terminal.outcome import reported
from onnxmesh.client import MeshClient
from onnxmesh.v1.mesh_pb2 import DeployProgress, ModelStatus


def scale(
    name: Annotated[str, typer.Argument(help="The model.")],
    replicas: Annotated[
        int,
        typer.Argument(
            metavar="R",
            min=1,
            help="Workers that hold each stage; at the least, if it was deployed with auto.",
        ),
    ],
    version: Annotated[int, typer.Option(min=0, help="The version; 0 means all.")] = 0,
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Change how many replicas each stage of a model has, without a gap in service.

    **Examples**

        onnxmesh scale resnet50 3
        onnxmesh scale chat 1 --version 2
    """
    with reported():
        scaled = asyncio.run(_scale(mesh, name, replicas, version))
    if as_json:
        typer.echo(json.dumps(model_document(scaled)))
    else:
        typer.echo(f"{name} has {replicas} replica{'s' if replicas > 1 else ''} of each stage")


async def _scale(mesh: str, name: str, replicas: int, version: int) -> ModelStatus:
    console = Console(stderr=True)
    with console.status(f"scaling {name} …") as shown:

        def progress(step: DeployProgress) -> None:
            shown.update(f"{step.message} …")
            if not console.is_terminal:
                console.print(step.message, highlight=False, markup=False)

        async with MeshClient(mesh) as client:
            return await client.scale(name, replicas, version, progress)
