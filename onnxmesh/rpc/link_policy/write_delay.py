"""When a writer should wait a moment, so that more frames leave in one message. Pure."""

from __future__ import annotations

import math

WRITE_DELAY_S = 0.002
"""How long is waited."""

DENSE_INTERVAL_S = 0.001
"""Frames further apart than this are never made to wait."""

MIN_FRAMES = 3
"""Frames in one message that make the wait worth it."""

_FEWEST_SKIPPED, _MOST_SKIPPED = 16, 1024


class WriteDelay:
    """Learns whether waiting pays on one stream.

    A message costs some 100 µs of CPU on each side, whatever is in it; a frame more costs a few. With many requests in
    flight, a wait of two milliseconds gathers several and everything becomes faster; with few it is only a delay. So a wait
    is tried where messages follow each other densely, kept up while it gathers enough, and tried ever more rarely
    where it does not.
    """

    def __init__(self) -> None:
        self._pays = False
        self._waited = False
        self._wrote_at_s = -math.inf
        self._skip = _FEWEST_SKIPPED
        self._to_skip = _FEWEST_SKIPPED

    def should_wait(self, now_s: float) -> bool:
        """Whether to wait `WRITE_DELAY_S` before the next message; asked once for each message."""
        self._waited = self._pays
        if not self._pays and now_s - self._wrote_at_s <= DENSE_INTERVAL_S:
            self._to_skip -= 1
            self._waited = self._to_skip <= 0
        return self._waited

    def message_written(self, num_frames: int, now_s: float) -> None:
        """Takes note of a message that was written."""
        self._wrote_at_s = now_s
        if num_frames >= MIN_FRAMES:
            self._pays = True
            self._skip = _FEWEST_SKIPPED
        elif self._waited:
            self._pays = False
            self._skip = min(2 * self._skip, _MOST_SKIPPED)
        if self._waited:
            self._to_skip = self._skip
