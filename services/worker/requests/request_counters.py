"""What became of the requests that came to this worker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class RequestCounters:
    """Counts since the start, each request at each of its hops here once; a part that comes when the other has ended, too.

    Attributes:
        completed: Sent on or answered.
        dropped: Ended because nobody waited any more: cancelled, late, or the origin is gone.
        failed: Ended with any other failure.
    """

    completed: int = 0
    dropped: int = 0
    failed: int = 0
