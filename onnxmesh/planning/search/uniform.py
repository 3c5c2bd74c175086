"""Uniform cuts: stages with nearly equal numbers of nodes."""

from __future__ import annotations

from bisect import bisect_left

from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain, DeviceGroup
from onnxmesh.planning.search.pools import by_speed


def uniform_cuts(chain: Chain, num_stages: int) -> tuple[int, ...]:
    """Returns the legal cuts nearest to equal numbers of nodes."""
    positions = [int(position) for position in chain.positions]
    cuts: list[int] = []
    for stage in range(1, num_stages):
        ideal = positions[-1] * stage / num_stages
        right = bisect_left(positions, ideal)
        nearest = (
            right if right == 0 or positions[right] - ideal < ideal - positions[right - 1] else right - 1
        )
        lowest = cuts[-1] + 1 if cuts else 1
        cuts.append(min(max(nearest, lowest), chain.num_blocks - (num_stages - stage)))
    return tuple(cuts)


def uniform_assignment(chain: Chain, num_stages: int, replicas: int = 1) -> Assignment | None:
    """Returns a uniform cut on the fastest devices; None if they are too few or too small.

    Each stage has devices of one kind; the fastest kind that fits is assigned to the stage with the most computation.
    """
    cuts = uniform_cuts(chain, num_stages)
    remaining = [chain.units((kind,), replicas) for kind in range(chain.num_kinds)]
    order = list(dict.fromkeys(by_speed(chain, range(chain.num_kinds))))
    ranges = Assignment(cuts, ((),) * num_stages).ranges(chain)
    given: dict[int, DeviceGroup] = {}
    prefix = chain.prefix[order[0]] if order else chain.prefix[0]
    for stage in sorted(range(num_stages), key=lambda s: -int(prefix[ranges[s][1]] - prefix[ranges[s][0]])):
        start, end = ranges[stage]
        fits = (kind for kind in order if remaining[kind] > 0 and start >= chain.first_start[kind, end])
        kind = next(fits, None)
        if kind is None:
            return None
        remaining[kind] -= 1
        given[stage] = ((kind, replicas),)
    return Assignment(cuts, tuple(given[stage] for stage in range(num_stages)))
