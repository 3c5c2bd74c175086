"""Wrong arguments in one line."""

from __future__ import annotations

import pytest

from tests.fakes.command_line import run


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["deploy"], "MODEL.onnx is missing (see onnxmesh deploy --help)"),
        (["infer"], "NAME is missing (see onnxmesh infer --help)"),
        (["split", "m.onnx"], "--out is missing (see onnxmesh split --help)"),
        (
            ["deploy", "m.onnx", "--percent", "101"],
            "--percent: expected a number of at most 100, got '101' (see onnxmesh deploy --help)",
        ),
        (["scale", "m", "two"], "R: expected a whole number, got 'two' (see onnxmesh scale --help)"),
        (
            ["deploy", "m.onnx", "--objective", "speed"],
            "--objective: 'speed' is not one of 'throughput', 'latency' (see onnxmesh deploy --help)",
        ),
        (
            ["deploy", "m.onnx", "--stagess", "2"],
            "there is no option --stagess; did you mean '--stages'? (see onnxmesh deploy --help)",
        ),
        (["status", "--nothing"], "there is no option --nothing (see onnxmesh status --help)"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, line):
    """With the argument's name, what was expected and what came, and exit code 2."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {line}\n")


def test_unknown_commands_have_a_suggestion():
    """One line, too."""
    result = run("deplyo")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("error: no such command 'deplyo'; did you mean 'deploy'")


def test_without_a_command_there_is_the_help():
    """And exit code 2, for nothing was done."""
    result = run()
    assert result.exit_code == 2
    assert "Usage: onnxmesh" in result.stdout + result.stderr


def test_commands_that_succeed_exit_with_0():
    """As before."""
    assert run("--version").exit_code == 0
