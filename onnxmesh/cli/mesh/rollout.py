"""`onnxmesh rollout`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.cli.terminal.outcome import reported
from onnxmesh.client import MeshClient
from onnxmesh.errors import InvalidRequest


def rollout(
    name: Annotated[str, typer.Argument(help="The model.")],
    to: Annotated[
        int | None, typer.Option(min=1, metavar="VERSION", help="The version that gets a part.")
    ] = None,
    percent: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=100,
            help="Percent of the requests that name no version; default: 100. The other versions share the rest "
            "as they did before.",
        ),
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="Share as before the last rollout.")] = False,
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Split the requests that name no version among the versions of a model.

    A version without a complete route leaves its part to the others. Once versions share, a new one starts with 0 percent.

    **Examples**

        onnxmesh rollout resnet50 --to 2 --percent 10
        onnxmesh rollout resnet50 --to 2
        onnxmesh rollout resnet50 --back
    """
    with reported():
        if back == (to is not None) or (back and percent is not None):
            raise InvalidRequest("rollout takes either --to VERSION, with --percent or without, or --back")
        shares = asyncio.run(_rollout(mesh, name, to, 100 if percent is None else percent))
    if as_json:
        versions = [{"version": version, "percent": share} for version, share in shares.items()]
        typer.echo(json.dumps({"name": name, "versions": versions}))
    else:
        parts = ", ".join(f"version {version} gets {share} %" for version, share in shares.items())
        typer.echo(f"{name}: {parts}")


async def _rollout(mesh: str, name: str, to: int | None, percent: int) -> dict[int, int]:
    async with MeshClient(mesh) as client:
        return await (client.roll_back(name) if to is None else client.roll_out(name, to, percent))
