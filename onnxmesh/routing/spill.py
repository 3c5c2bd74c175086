"""How much of the traffic stays near, and where the rest goes.

Source: Envoy, "Priority levels": a tier takes what it can, the rest spills to the next; a tier that is gone fails
over whole. Envoy goes by the share of healthy hosts; here it is the share of capacity in use.
"""

from __future__ import annotations

from collections.abc import Sequence


class Pressure:
    """The use of each tier's capacity, averaged over the last decisions; of a small tier it is 0 or 1 at any moment.

    Args:
        num_tiers: From near to far.
        num_decisions: Over about how many decisions it is averaged.
    """

    __slots__ = ("_weight", "used")

    def __init__(self, num_tiers: int, num_decisions: float) -> None:
        self._weight = 1.0 / num_decisions
        self.used = [0.0] * num_tiers

    def observe(self, tier: int, used: float) -> None:
        """Takes the share of a tier's capacity that is in use at this moment."""
        self.used[tier] += self._weight * (used - self.used[tier])


def shares(used: Sequence[float], alive: Sequence[bool], spill_at: float) -> list[float]:
    """Returns the share of requests for each tier; what is missing from 1 belongs to all of them together.

    A tier keeps everything up to `spill_at`; from there to full use it gives up evenly more of it.

    Args:
        used: Share of each tier's capacity in use, from near to far.
        alive: Whether a tier has any candidate.
        spill_at: From 0 to 1.
    """
    rest, found = 1.0, []
    for use, is_alive in zip(used, alive, strict=True):
        kept = 0.0 if not is_alive else 1.0 if use <= spill_at else max(0.0, (1.0 - use) / (1.0 - spill_at))
        found.append(rest * kept)
        rest -= rest * kept
    return found
