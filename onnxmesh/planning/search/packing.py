"""Memory packing: whether a chain fits the memory of the devices at all."""

from __future__ import annotations

from math import prod

import numpy as np

from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain, DeviceGroup

_MAX_MULTISETS = 20_000
"""Beyond this number, devices are tried in one order only: the largest memory first."""


def pack_memory(chain: Chain, num_stages: int | None = None, replicas: int = 1) -> Assignment | None:
    """Returns an assignment that fits, with the fewest stages, whatever its speed; None if none was found.

    A part of a stage fits wherever the stage does, so for each multiset of devices only the order that covers the
    most blocks matters: O(prod(counts + 1) kinds).

    Args:
        chain: The blocks and devices.
        num_stages: Exact number of stages; None: as few as possible.
        replicas: Devices of one kind for each stage.
    """
    units = [chain.units((kind,), replicas) for kind in range(chain.num_kinds)]
    if prod(count + 1 for count in units) > _MAX_MULTISETS:
        return _greedy(chain, units, num_stages, replicas)
    ends = np.arange(chain.num_blocks + 1)
    reach = [np.searchsorted(row, ends, side="right") - 1 for row in chain.first_start]
    origin: dict[tuple[int, ...], tuple[int, int]] = {}
    layer: dict[tuple[int, ...], int] = {(0,) * chain.num_kinds: 0}
    for stage in range(1, min(sum(units), chain.num_blocks) + 1):
        most = chain.num_blocks if num_stages is None else chain.num_blocks - (num_stages - stage)
        following: dict[tuple[int, ...], int] = {}
        for used, start in layer.items():
            for kind in range(chain.num_kinds):
                end = min(int(reach[kind][start]), most)
                if used[kind] == units[kind] or end <= start:
                    continue
                key = (*used[:kind], used[kind] + 1, *used[kind + 1 :])
                if end > following.get(key, 0):
                    following[key] = end
                    origin[key] = (start, kind)
        for used, end in following.items():
            if end == chain.num_blocks and num_stages in {None, stage}:
                return _traced(used, origin, replicas)
        if stage == num_stages:
            return None
        layer = following
    return None


def _traced(
    used: tuple[int, ...], origin: dict[tuple[int, ...], tuple[int, int]], replicas: int
) -> Assignment:
    cuts: list[int] = []
    groups: list[DeviceGroup] = []
    while any(used):
        start, kind = origin[used]
        cuts.append(start)
        groups.append(((kind, replicas),))
        used = (*used[:kind], used[kind] - 1, *used[kind + 1 :])
    return Assignment(tuple(reversed(cuts[:-1])), tuple(reversed(groups)))


def _greedy(chain: Chain, units: list[int], num_stages: int | None, replicas: int) -> Assignment | None:
    """Returns a greedy assignment: each device, the largest memory first, holds as many blocks as fit."""
    occupied = chain.first_start.sum(axis=1)
    order = sorted(range(chain.num_kinds), key=lambda kind: (int(occupied[kind]), kind))
    devices = [kind for kind in order for _ in range(units[kind])]
    cuts: list[int] = []
    start = 0
    for stage, kind in enumerate(devices[:num_stages], start=1):
        most = chain.num_blocks if num_stages is None else chain.num_blocks - (num_stages - stage)
        end = min(int(np.searchsorted(chain.first_start[kind], start, side="right")) - 1, most)
        if end <= start:
            return None
        if end == chain.num_blocks:
            return Assignment(tuple(cuts), tuple(((each, replicas),) for each in devices[:stage]))
        cuts.append(end)
        start = end
    return None
