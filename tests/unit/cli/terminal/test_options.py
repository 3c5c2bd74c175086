"""Options that several commands share."""

from __future__ import annotations

from tests.fakes.command_line import run


def test_mesh_option_is_read_from_the_environment_and_checked():
    """ONNXMESH_MESH stands for --mesh; what is not HOST:PORT is refused before anything is sent."""
    for done, name in (
        (run("status", "--mesh", "nowhere"), "--mesh"),
        (run("status", ONNXMESH_MESH="nowhere"), "ONNXMESH_MESH"),
    ):
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == (
            f"error: {name}: expected HOST:PORT, got 'nowhere': the port is missing, as in nowhere:8001\n"
        )
