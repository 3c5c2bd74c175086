"""`onnxmesh drain`."""

from __future__ import annotations

import json

from onnxmesh.errors import DeadlineExceeded
from onnxmesh.v1.mesh_pb2 import DrainProgress
from tests.fakes.command_line import run_with
from tests.fakes.fake_mesh import FakeMesh

HELD = DrainProgress(stages=["m/1/0", "m/1/1"], reason="no other worker has a GPU")


async def test_drain_prints_what_remains_until_the_worker_is_empty():
    """Each step is a line on standard error."""
    async with FakeMesh(Drain=[HELD, DrainProgress(done=True)]).running() as mesh:
        done = await run_with(mesh, "drain", "w")
    assert (done.exit_code, done.stdout) == (0, "w holds no stages: it can be stopped\n")
    assert done.stderr == "w still holds m/1/0, m/1/1 (no other worker has a GPU)\n"


async def test_drain_names_what_remains_at_its_time_limit():
    """With exit code 1, or that nothing is known yet."""
    for steps, words in [
        ([HELD], "w still holds m/1/0, m/1/1 (no other worker has a GPU)"),
        ([], "no reply about w"),
    ]:
        async with FakeMesh(Drain=[*steps, DeadlineExceeded("too late")]).running() as mesh:
            done = await run_with(mesh, "drain", "w", "--timeout", 30)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.splitlines()[-1] == f"error: after 30 s: {words}; it stays drained"


async def test_drain_can_be_undone():
    """The JSON says whether the worker is being emptied."""
    steps = [DrainProgress(done=True)]
    async with FakeMesh(Drain=list(steps)).running() as mesh:
        done = await run_with(mesh, "drain", "w", "--undo", "--json")
    assert json.loads(done.stdout) == {"worker": "w", "leaving": False}
    assert mesh.of("Drain")[0].undo
