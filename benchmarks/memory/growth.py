"""Growth of processes: memory at the end of a run relative to memory early in it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.targets import TargetResult, target_of

EARLY_S = 60.0
"""Caches, pools and estimates are filled by then."""

WINDOW_S = 30.0
"""Window of the mean: the memory of a gateway varies by a fifth with the large requests in flight."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The memory of each process at one time.

    Attributes:
        at_s: Seconds since the load began.
        rss, pss: In bytes, by name. PSS divides shared pages by the number of processes that map them.
    """

    at_s: float
    rss: dict[str, int]
    pss: dict[str, int]


@dataclass(frozen=True, slots=True)
class Growth:
    """One process.

    Attributes:
        name: Name of the process.
        early_rss, late_rss, early_pss, late_pss: In bytes: means around one minute, and of the last seconds.
    """

    name: str
    early_rss: float
    late_rss: float
    early_pss: float
    late_pss: float

    @property
    def rss(self) -> float:
        """Late divided by early."""
        return self.late_rss / self.early_rss

    @property
    def pss(self) -> float:
        """Late divided by early."""
        return self.late_pss / self.early_pss


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Returns the growth of each process.

    Args:
        samples: In order of time, from before one minute to well after it.

    Raises:
        ValueError: There is no sample around one minute.
    """
    early = [each for each in samples if abs(each.at_s - EARLY_S) <= WINDOW_S / 2]
    late = [each for each in samples if each.at_s >= samples[-1].at_s - WINDOW_S]
    if not early:
        raise ValueError(f"expected samples around {EARLY_S:.0f} s, the last is at {samples[-1].at_s:.0f} s")
    return [
        Growth(
            name,
            statistics.fmean(each.rss[name] for each in early),
            statistics.fmean(each.rss[name] for each in late),
            statistics.fmean(each.pss[name] for each in early),
            statistics.fmean(each.pss[name] for each in late),
        )
        for name in samples[0].rss
    ]


def growth_result(found: Sequence[Growth]) -> TargetResult:
    """Returns the result for the target `memory`: RSS of the process that grew most."""
    sides = ", ".join(f"{each.name} {each.rss:.3f}" for each in found)
    return TargetResult(target_of("memory"), (max(each.rss for each in found),), sides)
