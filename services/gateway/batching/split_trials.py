"""Whether cutting requests into micro-batches has proved to be faster. Pure."""

from __future__ import annotations

from services.gateway.batching.split_plan import MIN_GAIN
from services.gateway.batching.typical_time import TypicalTime

NUM_TRIALS = 3
"""So many requests go each way, in turns, before one of them is preferred: the first runs of a size are slow."""

TRY_AGAIN = 16
"""One request of so many goes the way that was slower, for that may have changed."""


class SplitTrials:
    """How long requests of about one size took for each of their rows, whole and cut.

    A plan counts on measured runs and ways; it knows nothing of processor time that gateways and workers take from each other, and of
    stages that others keep at work anyway. So what comes of it is held against what comes of leaving it.
    """

    def __init__(self) -> None:
        self._num = 0
        self._whole, self._cut = TypicalTime(), TypicalTime()

    def next_is_cut(self) -> bool:
        """Returns whether the next request that may be worth cutting is cut."""
        whole, cut = self._whole, self._cut
        if len(cut) < min(len(whole), NUM_TRIALS):
            return True
        if len(whole) < NUM_TRIALS:
            return False
        is_faster = _is_worth(cut.seconds, whole.seconds)
        # What the other way took last would change the choice if it lasted: then it is looked at again at once.
        if is_faster:
            would_change = not _is_worth(cut.seconds, whole.last_s)
        else:
            would_change = _is_worth(cut.last_s, whole.seconds)
        self._num += 1
        return is_faster != (would_change or self._num % TRY_AGAIN == 0)

    def took(self, row_s: float, *, cut: bool) -> None:
        """Takes how long a request took for each of its rows."""
        (self._cut if cut else self._whole).took(row_s)


def _is_worth(cut_s: float, whole_s: float) -> bool:
    return cut_s <= (1.0 - MIN_GAIN) * whole_s
