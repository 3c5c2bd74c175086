"""A clock that a test sets."""

from __future__ import annotations


class Clock:
    """Seconds that change only when a test sets them."""

    def __init__(self, now_s=0.0):
        self.now_s = now_s

    def __call__(self):
        return self.now_s
