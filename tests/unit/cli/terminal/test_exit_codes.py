"""Exit codes and error lines."""

from __future__ import annotations

from tests.fakes.command_line import run


def test_unreachable_mesh_is_exit_code_1():
    """The line has a hint."""
    result = run("status", "--mesh", "127.0.0.1:9")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: no mesh answers at 127.0.0.1:9: nothing listens there; start one with `onnxmesh up`, or give the "
        "address of a gateway with --mesh\n"
    )
