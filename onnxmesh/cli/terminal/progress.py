"""The progress of commands that wait, on standard error: a live line on a terminal, plain lines where that is a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from onnxmesh.deadline import Clock

_WIDTH_OF_TIME = 22
"""Columns for the spinner and the elapsed times beside a step's text."""


class StepProgress:
    """The steps of a command, one after another: each with its elapsed time while it lasts.

    On a terminal the current step is a live line, and the steps before it are lines above with the time that each took. A
    pipe gets a line for each step as it begins, without times.

    Args:
        progress: The live line; None: a pipe.
        console: Where lines go.
        clock: Seconds, monotonic.
    """

    def __init__(self, progress: Progress | None, console: Console, *, clock: Clock = monotonic) -> None:
        self._progress = progress
        self._console = console
        self._clock = clock
        self._text = ""
        self._began_s = clock()
        self._is_step = False

    def step(self, text: str) -> None:
        """Begins a step; the one before is done."""
        self._finish()
        self._text, self._began_s, self._is_step = text, self._clock(), True
        if self._progress is None:
            self._print(text)
        else:
            self._begin(text)

    def update(self, text: str) -> None:
        """Changes the text of the current step on a terminal."""
        self._text = text
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[-1], description=self._fitting(text))

    def wait(self, text: str) -> None:
        """Shows a text on a terminal until the first step begins: nothing has happened yet."""
        if self._progress is not None:
            self._begin(text)

    def _finish(self) -> None:
        if self._progress is not None and self._is_step:
            self._print(f"{self._text} ({self._clock() - self._began_s:.1f} s)")

    def _begin(self, text: str) -> None:
        assert self._progress is not None
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._progress.add_task(self._fitting(text), total=None)

    def _fitting(self, text: str) -> str:
        """Returns a text that fits beside spinner and times on one line: a live line that wraps flickers."""
        width = max(20, self._console.width - _WIDTH_OF_TIME)
        line = " ".join(text.split())
        return escape(line if len(line) <= width else f"{line[: width - 1]}…")

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress_steps(text: str, console: Console | None = None) -> Iterator[StepProgress]:
    """Shows the steps of a command until the block ends.

    Args:
        text: The first text, on a terminal alone.
        console: Where to show them; default: standard error.
    """
    shown = console or Console(stderr=True)
    if not shown.is_terminal:
        yield StepProgress(None, shown)
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), _Elapsed(monotonic())
    with Progress(*columns, console=shown, transient=True) as progress:
        steps = StepProgress(progress, shown)
        steps.wait(text)
        yield steps


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[float], None]]:
    """Shows a bar on a terminal until the block ends; yields a function that sets its share, from 0 to 1."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(text), total=1.0)
        yield lambda share: progress.update(task, completed=share)


class _Elapsed(ProgressColumn):
    """Seconds of the current step, and of the command where that has had other steps."""

    def __init__(self, began_s: float) -> None:
        super().__init__()
        self._began_s = began_s

    def render(self, task: Task) -> Text:
        step_s, whole_s = int(task.elapsed or 0.0), int(monotonic() - self._began_s)
        return Text(f"{step_s} s" + (f", {whole_s} s in all" if whole_s > step_s + 1 else ""), style="dim")
