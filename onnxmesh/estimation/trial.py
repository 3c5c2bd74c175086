"""Trials of two alternatives whose durations vary."""

from __future__ import annotations

from onnxmesh.estimation.trial_schedule import TrialSchedule
from onnxmesh.estimation.typical_time import TypicalTime

NUM_TRIALS = 3
"""Runs of each alternative, in turns, before one is preferred: the first runs of a kind are slow."""

TRIAL_INTERVAL = 16
"""Runs of which one uses the slower alternative, for that may have changed."""


class Trial:
    """Chooses between a default and an alternative by the typical times of both (ADR 24).

    Args:
        min_gain: Share of the default's time that the alternative must save to be preferred.
    """

    __slots__ = ("_alternative", "_default", "_min_gain", "_schedule")

    def __init__(self, min_gain: float) -> None:
        self._min_gain = min_gain
        self._schedule = TrialSchedule(TRIAL_INTERVAL)
        self._default, self._alternative = TypicalTime(), TypicalTime()

    def use_alternative(self) -> bool:
        """Returns whether the next run uses the alternative."""
        default, alternative = self._default, self._alternative
        if len(alternative) < min(len(default), NUM_TRIALS):
            return True
        if len(default) < NUM_TRIALS:
            return False
        is_faster = self._is_worth(alternative.seconds, default.seconds)
        # Where the last run of the other one would change the choice if it lasted, that one is run again at once.
        if is_faster:
            would_change = not self._is_worth(alternative.seconds, default.last_s)
        else:
            would_change = self._is_worth(alternative.last_s, default.seconds)
        is_due = self._schedule.is_due()
        if is_due:
            self._schedule.failed()
        return is_faster != (would_change or is_due)

    def observe(self, seconds: float, *, alternative: bool) -> None:
        """Records the duration of a run of either."""
        (self._alternative if alternative else self._default).observe(seconds)

    def _is_worth(self, alternative_s: float, default_s: float) -> bool:
        return alternative_s <= (1.0 - self._min_gain) * default_s
