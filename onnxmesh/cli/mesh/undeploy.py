"""`onnxmesh undeploy`: takes a model out of service."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.json_output import print_json
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.client import MeshClient


def undeploy(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[int, typer.Option(min=0, help="Version number; 0: all versions.")] = 0,
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Take a model, or one version of it, out of service.

    **Examples**

    ```
    onnxmesh undeploy resnet50
    onnxmesh undeploy chat --version 3
    ```
    """
    with errors_reported():
        versions = asyncio.run(_undeploy(mesh, name, version))
    if as_json:
        print_json({"name": name, "versions": versions})
    else:
        typer.echo(f"undeployed {name} version {', '.join(map(str, versions))}")


async def _undeploy(mesh: str, name: str, version: int) -> list[int]:
    async with MeshClient(mesh) as client:
        return await client.undeploy(name, version)
