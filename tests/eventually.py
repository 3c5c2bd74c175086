"""Waits for a condition, instead of a fixed time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

BUSY_S = 300.0
"""Limit of waits for what takes a second or two on a machine at rest, and ten times as long on a busy one."""


async def eventually(condition: Callable[[], object], timeout: float = BUSY_S) -> None:
    """Returns once `condition()` is true; fails with its last value after `timeout` seconds."""
    end = monotonic() + timeout
    while not (value := condition()):
        assert monotonic() < end, f"still {value!r} after {timeout:g} s"
        await asyncio.sleep(0.01)
