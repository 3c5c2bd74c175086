"""`onnxmesh undeploy`."""

from __future__ import annotations

import json

from onnxmesh.errors import NotFound
from onnxmesh.v1.mesh_pb2 import UndeployResponse
from tests.fakes.command_line import run_with
from tests.fakes.fake_mesh import FakeMesh


async def test_undeploy_names_the_removed_versions():
    """As a sentence and as JSON; an unknown model is exit code 2."""
    removed = UndeployResponse(versions=[1, 3])
    async with FakeMesh(Undeploy=[removed, removed, NotFound("unknown model 'x'")]).running() as mesh:
        sentence = await run_with(mesh, "undeploy", "m", "--version", 3)
        document = await run_with(mesh, "undeploy", "m", "--json")
        unknown = await run_with(mesh, "undeploy", "x")
    assert sentence.stdout == "undeployed m version 1, 3\n"
    assert json.loads(document.stdout) == {"name": "m", "versions": [1, 3]}
    assert (unknown.exit_code, unknown.stderr) == (2, "error: unknown model 'x'\n")
    assert [request.version for request in mesh.of("Undeploy")] == [3, 0, 0]
