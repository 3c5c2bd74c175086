"""The console that commands print tables to."""

from __future__ import annotations

from rich.console import Console

_WIDTH_OF_A_PIPE = 120


def output() -> Console:
    """Returns standard output, as wide as the terminal, or 120 columns where it is a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_OF_A_PIPE)
