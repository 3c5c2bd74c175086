"""An assignment: cuts and the device group of each stage, with its period and latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from onnxmesh.planning.search.chain import Chain, DeviceGroup


@dataclass(frozen=True, slots=True)
class Assignment:
    """Cuts of a chain and the device group of each stage.

    Attributes:
        cuts: Positions between blocks, ascending; one fewer than stages.
        groups: The device group of each stage.
    """

    cuts: tuple[int, ...]
    groups: tuple[DeviceGroup, ...]

    @property
    def num_stages(self) -> int:
        """The number of stages."""
        return len(self.groups)

    def ranges(self, chain: Chain) -> list[tuple[int, int]]:
        """Returns the blocks of each stage as half-open ranges."""
        return list(pairwise((0, *self.cuts, chain.num_blocks)))

    def periods(self, chain: Chain) -> list[int]:
        """Returns the period of each stage: the time from one request to the next under load."""
        stages = zip(chain.stages(self.groups), self.ranges(chain), strict=True)
        return [int(stage.period(start, end)) for stage, (start, end) in stages]

    def period(self, chain: Chain) -> int:
        """Returns the period of the slowest stage."""
        return max(self.periods(chain))

    def latency(self, chain: Chain) -> int:
        """Returns the latency of one request without others."""
        stages = zip(chain.stages(self.groups), self.ranges(chain), strict=True)
        return sum(int(stage.delay(start, end)) for stage, (start, end) in stages)

    def fits(self, chain: Chain) -> bool:
        """Whether every stage fits in the memory of all its devices."""
        stages = zip(chain.stages(self.groups), self.ranges(chain), strict=True)
        return all(start >= stage.first_start[end] for stage, (start, end) in stages)

    def spare(self, counts: Sequence[int]) -> list[int]:
        """Returns the number of unassigned devices of each kind, out of `counts`."""
        remaining = list(counts)
        for group in self.groups:
            for kind, count in group:
                remaining[kind] -= count
        return remaining
