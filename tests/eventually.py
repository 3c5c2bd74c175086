"""Waits for a condition, instead of a fixed time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic


async def eventually(condition: Callable[[], object], timeout: float = 300.0) -> None:
    """Returns once `condition()` is true; fails with its last value after `timeout` seconds."""
    end = monotonic() + timeout
    while not (value := condition()):
        assert monotonic() < end, f"still {value!r} after {timeout:g} s"
        await asyncio.sleep(0.01)
