"""The write delay of one stream: whether to wait a moment for more frames before a message is written."""

from __future__ import annotations

import math

from onnxmesh.estimation.trial_schedule import TrialSchedule

WRITE_DELAY_S = 0.002
"""The delay."""

DENSE_INTERVAL_S = 0.001
"""Messages with longer gaps are never delayed."""

MIN_FRAMES = 3
"""Frames in one message from which on the delay pays."""

_MIN_SKIPPED, _MAX_SKIPPED = 16, 1024


class WriteDelay:
    """Learns whether the delay pays on one stream.

    A message costs some 100 µs of CPU on each side, whatever its size; one more frame in it costs a few µs. With many
    requests in flight a delay of two milliseconds collects several frames and raises throughput; with few it only
    adds latency. So the delay is tried where messages follow each other closely, kept while it collects enough frames,
    and tried ever more rarely while it does not.
    """

    def __init__(self) -> None:
        self._pays = False
        self._waited = False
        self._written_s = -math.inf
        self._trials = TrialSchedule(_MIN_SKIPPED, most=_MAX_SKIPPED)

    def should_wait(self, now_s: float) -> bool:
        """Whether to wait `WRITE_DELAY_S` before the next message; call it once for each message."""
        self._waited = self._pays
        if not self._pays and now_s - self._written_s <= DENSE_INTERVAL_S:
            self._waited = self._trials.is_due()
        return self._waited

    def message_written(self, num_frames: int, now_s: float) -> None:
        """Records a written message."""
        self._written_s = now_s
        if num_frames >= MIN_FRAMES:
            self._pays = True
            self._trials.succeeded()
        elif self._waited:
            self._pays = False
            self._trials.failed()
