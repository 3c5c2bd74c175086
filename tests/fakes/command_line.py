"""Commands as a person types them."""

from __future__ import annotations

import asyncio

from click.testing import Result
from typer.testing import CliRunner

from onnxmesh.cli.app import app
from tests.fakes.fake_mesh import FakeMesh


def run(*arguments: object, **environment: str) -> Result:
    """Runs one command of `onnxmesh` in this process, 200 columns wide."""
    return CliRunner().invoke(
        app,
        [str(argument) for argument in arguments],
        prog_name="onnxmesh",
        env={"COLUMNS": "200", **environment},
    )


async def run_with(mesh: FakeMesh, *arguments: object) -> Result:
    """Runs one command against a fake mesh, in a thread, for commands have an event loop of their own."""
    return await asyncio.to_thread(run, *arguments, "--mesh", mesh.address)
