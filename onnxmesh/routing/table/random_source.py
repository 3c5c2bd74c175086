"""What draws choices: a port."""

from __future__ import annotations

from typing import Protocol


class RandomSource(Protocol):
    """What draws the choices: a `random.Random`."""

    def random(self) -> float:
        """Returns a figure in [0, 1)."""
