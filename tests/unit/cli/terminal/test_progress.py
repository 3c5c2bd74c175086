"""The progress of commands on a terminal and in a pipe."""

from __future__ import annotations

import io

from rich.console import Console
from rich.progress import Progress

from onnxmesh.cli.terminal.progress import StepProgress, progress_bar, progress_steps


def test_progress_writes_a_line_for_each_step_to_a_pipe():
    """As it begins, however long; the first text and updates are no steps; brackets are no markup."""
    out = io.StringIO()
    with progress_steps("connecting [red]", Console(file=out, width=20)) as steps:
        steps.step("2 of 4 replicas ready [on worker-0]")
        steps.update("3 of 4")
        steps.step("done")
    assert out.getvalue() == "2 of 4 replicas ready [on worker-0]\ndone\n"


def test_progress_shows_a_live_line_of_the_current_step_in_a_terminal():
    """With the seconds since it began; brackets are as they are, and the line is erased in the end."""
    out = io.StringIO()
    with progress_steps("connecting", Console(file=out, width=60, force_terminal=True)) as steps:
        steps.step("uploading [red] 1 of 2")
        steps.update("uploading [red] 2 of 2")
    assert "connecting" in out.getvalue()
    assert "uploading [red] 2 of 2" in out.getvalue()
    assert " s" in out.getvalue()
    assert out.getvalue().endswith("\x1b[2K")


def test_progress_keeps_finished_steps_with_their_times_in_a_terminal():
    """Above the live line; the last step ends with the command."""
    now_s = 10.0
    out = io.StringIO()
    console = Console(file=out, width=60, force_terminal=True)
    with Progress(console=console, auto_refresh=False) as progress:
        steps = StepProgress(progress, console, clock=lambda: now_s)
        steps.wait("connecting")
        steps.step("uploading")
        now_s += 2.5
        steps.update("uploading: 9 of 9 GB")
        steps.step("optimising at level 'extended' on worker-0")
        now_s += 12
        steps.step("loading")
        assert [task.description for task in progress.tasks] == ["loading"]
    assert "uploading: 9 of 9 GB (2.5 s)" in out.getvalue()
    assert "optimising at level 'extended' on worker-0 (12.0 s)" in out.getvalue()
    assert "loading (" not in out.getvalue()
    assert "connecting (" not in out.getvalue()


def test_progress_does_not_wrap_the_live_line():
    """A text that is longer than the terminal is shortened."""
    out = io.StringIO()
    console = Console(file=out, width=60, force_terminal=True)
    with Progress(console=console, auto_refresh=False) as progress:
        StepProgress(progress, console).step("word " * 40)
        (task,) = progress.tasks
    assert len(task.description) == 38
    assert task.description.endswith("…")


def test_progress_bar_prints_nothing_to_a_pipe(capsys):
    """A bar is for people."""
    with progress_bar("measuring") as report:
        report(0.5)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
