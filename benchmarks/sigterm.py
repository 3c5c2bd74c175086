"""SIGTERM ends a benchmark together with the processes that it started."""

from __future__ import annotations

import signal
from types import FrameType


def exit_on_sigterm() -> None:
    """Makes SIGTERM raise SystemExit, so that meshes and rivals, which have sessions of their own, are ended."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
