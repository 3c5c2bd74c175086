"""`onnxmesh rollout`: splits traffic between the versions of a model."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.json_output import print_json
from onnxmesh.cli.terminal.options import DEFAULT_MESH, Json, Mesh
from onnxmesh.client import MeshClient
from onnxmesh.errors import InvalidRequest


def rollout(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    to: Annotated[
        int | None, typer.Option(min=1, metavar="VERSION", help="The version to send traffic to.")
    ] = None,
    percent: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=100,
            help="Share of the requests without a version, in percent; default: 100. The other versions keep their "
            "proportions of the rest.",
        ),
    ] = None,
    back: Annotated[
        bool, typer.Option("--back", help="Restore the traffic split before the last rollout.")
    ] = False,
    mesh: Mesh = DEFAULT_MESH,
    as_json: Json = False,
) -> None:
    """Split the requests without a version between the versions of a model.

    The share of a version without a complete route goes to the others. Once a split is set, a new version starts with 0 percent.

    **Examples**

    ```
    onnxmesh rollout resnet50 --to 2 --percent 10
    onnxmesh rollout resnet50 --to 2
    onnxmesh rollout resnet50 --back
    ```
    """
    with errors_reported():
        if back == (to is not None) or (back and percent is not None):
            raise InvalidRequest("rollout needs either --to VERSION, optionally with --percent, or --back")
        shares = asyncio.run(_rollout(mesh, name, to, 100 if percent is None else percent))
    if as_json:
        versions = [{"version": version, "percent": share} for version, share in shares.items()]
        print_json({"name": name, "versions": versions})
    else:
        parts = ", ".join(f"version {version} gets {share} %" for version, share in shares.items())
        typer.echo(f"{name}: {parts}")


async def _rollout(mesh: str, name: str, to: int | None, percent: int) -> dict[int, int]:
    async with MeshClient(mesh) as client:
        return await (client.roll_back(name) if to is None else client.roll_out(name, to, percent))
