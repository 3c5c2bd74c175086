"""A benchmark that is told to stop ends what it started."""

from __future__ import annotations

import signal
from types import FrameType


def exit_on_sigterm() -> None:
    """Has SIGTERM raise SystemExit, so that meshes and servers of others, which have sessions of their own, are ended."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
