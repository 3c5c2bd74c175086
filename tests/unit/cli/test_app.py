"""The application: every command's help, and errors of arguments."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from onnxmesh.cli.app import app
from tests.fakes.command_line import run

COMMANDS = ["up", "deploy", "undeploy", "status", "scale", "rollout", "drain", "rebalance"]
COMMANDS += ["infer", "explain", "plan", "profile", "split", "verify"]


def typed(text):
    """Returns the commands of a help text, or of a command's docstring."""
    return re.findall(r"^ *(onnxmesh .*?) *$", text, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(command):
    """Every command's help shows how it is typed, one example to a line, in a terminal of 80 columns."""
    result = run(command, "--help", COLUMNS="80")
    assert result.exit_code == 0
    (function,) = [each.callback for each in app.registered_commands if each.callback.__name__ == command]
    examples = typed(function.__doc__)
    assert any(example.startswith(f"onnxmesh {command}") for example in examples)
    assert typed(result.stdout.partition("Examples")[2]) == examples


def test_examples_of_the_application_stand_one_to_a_line():
    """In the help of `onnxmesh` itself."""
    assert typed(run("--help", COLUMNS="80").stdout.partition("Try it")[2])[0] == "onnxmesh up"
    assert len(typed(run("--help", COLUMNS="80").stdout.partition("Try it")[2])) == 4


@pytest.mark.parametrize(
    ("typed_so_far", "offered"),
    [
        ("onnxmesh re", {"rebalance"}),
        ("onnxmesh deploy --obj", {"--objective"}),
        ("onnxmesh d", {"deploy", "drain"}),
    ],
)
def test_shells_complete_commands_and_options(typed_so_far, offered):
    """`onnxmesh --install-completion` installs what calls this."""
    number = str(len(typed_so_far.split()) - 1)
    words = {"_ONNXMESH_COMPLETE": "complete_bash", "COMP_WORDS": typed_so_far, "COMP_CWORD": number}
    result = CliRunner().invoke(app, [], prog_name="onnxmesh", env=words)
    assert set(result.stdout.split()) == offered


def test_help_without_a_command_lists_every_command():
    """`onnxmesh` without a command lists the commands."""
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
