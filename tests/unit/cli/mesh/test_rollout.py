"""`onnxmesh rollout`."""

from __future__ import annotations

import json

from onnxmesh.v1.mesh_pb2 import RolloutResponse, VersionTraffic
from tests.fakes.command_line import run_with
from tests.fakes.fake_mesh import FakeMesh

SPLIT = RolloutResponse(
    versions=[VersionTraffic(version=1, percent=90), VersionTraffic(version=2, percent=10)]
)


async def test_rollout_prints_the_new_split():
    """Without --percent the version gets everything; --back names no version."""
    async with FakeMesh(Rollout=[SPLIT, SPLIT, SPLIT]).running() as mesh:
        done = await run_with(mesh, "rollout", "m", "--to", 2, "--percent", 10)
        document = await run_with(mesh, "rollout", "m", "--to", 2, "--json")
        await run_with(mesh, "rollout", "m", "--back")
    assert done.stdout == "m: version 1 gets 90 %, version 2 gets 10 %\n"
    assert json.loads(document.stdout)["versions"][1] == {"version": 2, "percent": 10}
    assert [(each.to, each.percent, each.back) for each in mesh.of("Rollout")] == [
        (2, 10, False),
        (2, 100, False),
        (0, 0, True),
    ]
