"""The progress display of `make bench`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Board:
    """The progress display: parts of the run above, steps of the part below. A context manager.

    Args:
        num_parts: Of the run.
    """

    def __init__(self, num_parts: int) -> None:
        columns = TextColumn("{task.description:48}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        # Drawing takes CPU from what is measured.
        self._progress = Progress(*columns, console=Console(stderr=True), refresh_per_second=1)
        self._parts = self._progress.add_task("parts", total=num_parts)
        self._steps: TaskID | None = None
        self._part = ""

    def __enter__(self) -> Board:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    @contextlib.contextmanager
    def part(self, name: str, num_steps: int) -> Iterator[None]:
        """Shows a part for as long as it lasts."""
        self._part = name
        self._steps = self._progress.add_task(name, total=num_steps)
        yield
        self._progress.remove_task(self._steps)
        self._progress.advance(self._parts)

    def step(self, what: str) -> None:
        """Says what is being done now; what was said before is done."""
        if self._steps is not None:
            if self._progress.tasks[-1].description != self._part:
                self._progress.advance(self._steps)
            self._progress.update(self._steps, description=f"{self._part}: {what}")

    def say(self, what: str) -> None:
        """Prints a line that stays."""
        self._progress.console.print(what, highlight=False)
