"""`onnxmesh rebalance`."""

from __future__ import annotations

import json

from onnxmesh.v1.mesh_pb2 import RebalanceResponse, StageMove
from tests.fakes.command_line import run_with
from tests.fakes.fake_mesh import FakeMesh

MOVES = RebalanceResponse(
    moves=[StageMove(stage="m/1/0", from_worker="a", to_worker="b [gpu]", why="faster")]
)


async def test_rebalance_lists_the_moves():
    """A dry run has another title; names are shown as they are; JSON has the same moves."""
    async with FakeMesh(Rebalance=[MOVES, MOVES, MOVES, RebalanceResponse()]).running() as mesh:
        made = await run_with(mesh, "rebalance")
        dry = await run_with(mesh, "rebalance", "--dry-run")
        document = await run_with(mesh, "rebalance", "--json")
        none = await run_with(mesh, "rebalance")
    assert ("Stages moved" in made.stdout, "b [gpu]" in made.stdout) == (True, True)
    assert "Stages to move" in dry.stdout
    assert json.loads(document.stdout) == {
        "moves": [{"stage": "m/1/0", "from": "a", "to": "b [gpu]", "why": "faster"}],
        "dry_run": False,
    }
    assert none.stdout == "nothing to move\n"
    assert [request.dry_run for request in mesh.of("Rebalance")] == [False, True, False, False]
