"""The progress display of `make bench`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class ProgressDisplay:
    """The progress display: the parts of the run above, the steps of the current part below. A context manager.

    Args:
        num_parts: Number of parts.
    """

    def __init__(self, num_parts: int) -> None:
        columns = TextColumn("{task.description:48}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        # Drawing takes CPU time from the measurement.
        self._progress = Progress(*columns, console=Console(stderr=True), refresh_per_second=1)
        self._parts = self._progress.add_task("parts", total=num_parts)
        self._steps: TaskID | None = None
        self._part = ""

    def __enter__(self) -> ProgressDisplay:
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
        """Shows a part until the block ends."""
        self._part = name
        self._steps = self._progress.add_task(name, total=num_steps)
        yield
        self._progress.remove_task(self._steps)
        self._progress.advance(self._parts)

    def step(self, what: str) -> None:
        """Shows the current step; the one before is done."""
        if self._steps is not None:
            if self._progress.tasks[-1].description != self._part:
                self._progress.advance(self._steps)
            self._progress.update(self._steps, description=f"{self._part}: {what}")

    def print(self, what: str) -> None:
        """Prints a line above the display."""
        self._progress.console.print(what, highlight=False)
