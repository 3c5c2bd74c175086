"""The progress line on a terminal and in a pipe."""

from __future__ import annotations

import io

from rich.console import Console

from onnxmesh.cli.terminal.progress import progress_bar, progress_spinner


def test_progress_spinner_prints_lines_to_a_pipe():
    """Each step is one line, however long; the first text is not a step; brackets are no markup."""
    out = io.StringIO()
    with progress_spinner("uploading [red]", Console(file=out, width=20)) as show:
        show("2 of 4 replicas ready [on worker-0]")
        show("done")
    assert out.getvalue() == "2 of 4 replicas ready [on worker-0]\ndone\n"


def test_progress_spinner_replaces_its_text_on_a_terminal():
    """It shows the last step, with brackets as they are, and erases the line in the end."""
    out = io.StringIO()
    with progress_spinner("uploading", Console(file=out, width=60, force_terminal=True)) as show:
        show("2 of 4 [red] ready")
    assert "2 of 4 [red] ready …" in out.getvalue()
    assert out.getvalue().endswith("\x1b[2K")


def test_progress_bar_prints_nothing_to_a_pipe(capsys):
    """A bar is for people."""
    with progress_bar("measuring") as report:
        report(0.5)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
