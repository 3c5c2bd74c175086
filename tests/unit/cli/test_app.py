"""The application: every command's help, and errors of arguments."""

from __future__ import annotations

import pytest

from tests.fakes.command_line import run

COMMANDS = ["up", "deploy", "undeploy", "status", "scale", "rollout", "drain", "rebalance"]
COMMANDS += ["infer", "explain", "plan", "profile", "split", "verify"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(command):
    """Every command's help shows how it is typed."""
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"onnxmesh {command}" in result.stdout
    assert "Examples" in result.stdout


def test_help_without_a_command_lists_every_command():
    """`onnxmesh` alone says what there is."""
    result = run("--help")
    assert all(command in result.stdout for command in COMMANDS)
    assert "Exit codes" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["deploy", "none.onnx"], "no model at 'none.onnx'"),
        (
            ["deploy", "none.onnx", "--stages", "many"],
            "--stages: expected a positive number or 'auto', got 'many'",
        ),
        (["split", "none.onnx", "--out", "x"], "no model at 'none.onnx'"),
        (["verify", "nowhere", "none.onnx"], "no model at 'none.onnx'"),
        (["rollout", "m"], "either --to VERSION, optionally with --percent, or --back"),
        (["rollout", "m", "--to", "2", "--back"], "either --to VERSION"),
        (["rollout", "m", "--back", "--percent", "5"], "either --to VERSION"),
        (["up", "--models", "nowhere"], "there is no folder 'nowhere'"),
        (["up", "--address", "8001"], "expected HOST:PORT, got '8001'"),
        (["status", "--mesh", "nonsense"], "--mesh: expected HOST:PORT, got 'nonsense'"),
        (["up", "--zones", "a,,b"], "--zones: expected names separated by commas, got 'a,,b'"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(arguments, words):
    """No traceback, nothing on standard output."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
