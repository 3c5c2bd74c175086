"""Cuts with the devices of each stage, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from onnxmesh.planning.search.chain import Chain, DeviceGroup


@dataclass(frozen=True, slots=True)
class Assignment:
    """A way to cut a chain and to hold its stages.

    Attributes:
        cuts: Positions between blocks, ascending; one fewer than stages.
        groups: The devices of each stage.
    """

    cuts: tuple[int, ...]
    groups: tuple[DeviceGroup, ...]

    @property
    def num_stages(self) -> int:
        """How many stages there are."""
        return len(self.groups)

    def ranges(self, chain: Chain) -> list[tuple[int, int]]:
        """Returns the blocks of each stage, half-open."""
        return list(pairwise((0, *self.cuts, chain.num_blocks)))

    def periods(self, chain: Chain) -> list[int]:
        """Returns for each stage the time from one request to the next."""
        stages = zip(chain.stages(self.groups), self.ranges(chain), strict=True)
        return [int(stage.period(start, end)) for stage, (start, end) in stages]

    def period(self, chain: Chain) -> int:
        """Returns the time from one answer to the next: that of the slowest stage."""
        return max(self.periods(chain))

    def latency(self, chain: Chain) -> int:
        """Returns the time of one request alone."""
        stages = zip(chain.stages(self.groups), self.ranges(chain), strict=True)
        return sum(int(stage.delay(start, end)) for stage, (start, end) in stages)

    def fits(self, chain: Chain) -> bool:
        """Whether every stage fits in the memory of all its devices."""
        stages = zip(chain.stages(self.groups), self.ranges(chain), strict=True)
        return all(start >= stage.first_start[end] for stage, (start, end) in stages)

    def spare(self, counts: Sequence[int]) -> list[int]:
        """Returns how many devices of each kind hold nothing, of so many."""
        left = list(counts)
        for group in self.groups:
            for kind, count in group:
                left[kind] -= count
        return left
