"""Locality spillover: how much of the traffic stays in the nearest tier of zones, and where the rest goes.

Source: Envoy, "Priority levels": a tier takes what it can, the rest spills over to the next; a tier without hosts fails
over as a whole. Envoy uses the share of healthy hosts; here it is the share of capacity in use.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.estimation.smoothed_average import smoothed


class TierUtilisation:
    """Utilisation of each tier, averaged over recent decisions; that of a small tier is 0 or 1 at any moment.

    Attributes:
        average: Share of each tier's capacity in use, from near to far.

    Args:
        num_tiers: Number of tiers.
        num_decisions: About how many decisions the average covers.
    """

    __slots__ = ("_weight", "average")

    def __init__(self, num_tiers: int, num_decisions: float) -> None:
        self._weight = 1.0 / num_decisions
        self.average = [0.0] * num_tiers

    def observe(self, tier: int, used: float) -> None:
        """Records the share of a tier's capacity that is in use at this moment."""
        self.average[tier] = smoothed(self.average[tier], used, self._weight)


def spillover_shares(used: Sequence[float], has_candidates: Sequence[bool], spill_at: float) -> list[float]:
    """Returns the share of requests for each tier; what is missing from 1 goes to all tiers together.

    A tier keeps all requests up to `spill_at`; from there to full use the share that it keeps falls linearly to 0.

    Args:
        used: Share of each tier's capacity in use, from near to far.
        has_candidates: Whether a tier has any candidate.
        spill_at: From 0 to 1.
    """
    rest, found = 1.0, []
    for use, is_up in zip(used, has_candidates, strict=True):
        kept = 0.0 if not is_up else 1.0 if use <= spill_at else max(0.0, (1.0 - use) / (1.0 - spill_at))
        found.append(rest * kept)
        rest -= rest * kept
    return found
