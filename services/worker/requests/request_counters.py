"""Counters of how requests ended on this worker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class RequestCounters:
    """Counts since the start: each request once at each of its hops here, and each part whose other part had ended.

    Attributes:
        completed: Forwarded or answered.
        dropped: Ended without use: cancelled, past the deadline, or the gateway is disconnected.
        failed: Ended with any other error.
    """

    completed: int = 0
    dropped: int = 0
    failed: int = 0
