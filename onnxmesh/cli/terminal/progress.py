"""The progress line of commands that wait: a spinner or a bar on standard error, plain lines where that is a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def progress_spinner(text: str, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Shows a spinner until the block ends; yields a function that replaces its text.

    Args:
        text: The first text. It is not printed to a pipe: nothing has happened yet.
        console: Where to show it; default: standard error.
    """
    shown = console or Console(stderr=True)
    with shown.status(_waiting(text)) as spinner:

        def update(step: str) -> None:
            spinner.update(_waiting(step))
            if not shown.is_terminal:
                shown.print(step, highlight=False, markup=False, soft_wrap=True)

        yield update


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[float], None]]:
    """Shows a bar on a terminal until the block ends; yields a function that sets its share, from 0 to 1."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(text), total=1.0)
        yield lambda share: progress.update(task, completed=share)


def _waiting(text: str) -> str:
    return f"{escape(text)} …"
