"""The console that commands print tables to."""

from __future__ import annotations

from onnxmesh.cli.terminal.console import output


def test_console_is_wide_enough_for_tables_in_a_pipe(capsys):
    """120 columns whatever the environment, and no colours."""
    output().print("x" * 119)
    assert capsys.readouterr().out == "x" * 119 + "\n"
