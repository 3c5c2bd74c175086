"""Pools of similar kinds of devices, so that a search distinguishes fewer kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import log

import numpy as np

from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain, DeviceGroup
from onnxmesh.planning.search.int_array import IntArray


@dataclass(frozen=True, slots=True)
class DevicePools:
    """Kinds in pools, and the number of devices that are assigned together.

    Attributes:
        members: Positions of the kinds of each pool; each kind is in one pool.
        unit: Number of devices that are assigned together.
    """

    members: tuple[tuple[int, ...], ...]
    unit: int = 1

    @classmethod
    def of(cls, chain: Chain, unit: int = 1) -> DevicePools:
        """Returns pools of one kind each."""
        return cls(tuple((kind,) for kind in range(chain.num_kinds)), unit)

    def units(self, chain: Chain) -> tuple[int, ...]:
        """Returns the number of units in each pool."""
        return tuple(chain.units(pool, self.unit) for pool in self.members)

    def merged(self, chain: Chain) -> DevicePools:
        """Returns the pools with the two most similar ones merged: by speed on the whole chain and by memory."""
        features = [_features(chain, pool) for pool in self.members]
        one, other = min(
            combinations(range(len(features)), 2),
            key=lambda pair: sum(
                abs(a - b) for a, b in zip(features[pair[0]], features[pair[1]], strict=True)
            ),
        )
        members = list(self.members)
        members[one] = tuple(sorted(members[one] + members.pop(other)))
        return replace(self, members=tuple(members))

    def chain(self, chain: Chain) -> Chain:
        """Returns the chain with pools as kinds and units as counts.

        A pool computes at the mean rate of its devices, sends at the rate of its slowest, and has the memory of its
        smallest, so a stage that fits a pool fits each of its devices.
        """
        if all(len(pool) == 1 for pool in self.members):
            return replace(chain, counts=self.units(chain))
        pools = [list(pool) for pool in self.members]
        transfer = np.array(
            [[chain.transfer[np.ix_(one, other)].max(axis=(0, 1)) for other in pools] for one in pools]
        )
        return replace(
            chain,
            prefix=np.array([_mean_prefix(chain, pool) for pool in pools]),
            transfer=transfer,
            first_start=np.array([chain.first_start[pool].max(axis=0) for pool in pools]),
            counts=self.units(chain),
        )

    def assign_devices(self, chain: Chain, pooled: Chain, found: Assignment) -> Assignment:
        """Returns the assignment with devices of kinds: the fastest of each pool for its heaviest stages.

        Args:
            chain: The chain with kinds.
            pooled: The chain with pools as kinds, at all or some of its positions.
            found: An assignment of pools, counted in single devices.
        """
        if all(len(pool) == 1 for pool in self.members):
            groups = tuple(tuple((self.members[k][0], count) for k, count in h) for h in found.groups)
            return replace(found, groups=groups)
        loads = found.periods(pooled)
        given: dict[int, DeviceGroup] = {}
        remaining = {pool: by_speed(chain, self.members[pool]) for pool in range(len(self.members))}
        for stage in sorted(range(found.num_stages), key=lambda stage: -loads[stage]):
            ((pool, count),) = found.groups[stage]
            devices, remaining[pool] = remaining[pool][:count], remaining[pool][count:]
            given[stage] = tuple((kind, devices.count(kind)) for kind in sorted(set(devices)))
        return replace(found, groups=tuple(given[stage] for stage in range(found.num_stages)))


def by_speed(chain: Chain, kinds: Sequence[int]) -> list[int]:
    """Returns the kind of every slot of those kinds, the fastest first, one slot of each device before the next round.

    Consecutive slots, up to the number of devices, are therefore on different devices.
    """
    order = sorted(kinds, key=lambda kind: (int(chain.prefix[kind, -1]), kind))
    return [kind for kind in order for _ in range(chain.counts[kind] // chain.slots)] * chain.slots


def _features(chain: Chain, pool: Sequence[int]) -> tuple[float, float]:
    kinds = list(pool)
    speed = log(1 + float(chain.prefix[kinds, -1].mean()))
    # How much of the chain fits: a memory limit that is never reached makes no difference.
    reach = float((np.arange(chain.num_blocks + 1) - chain.first_start[kinds].max(axis=0)).mean())
    return speed, log(1 + reach)


def _mean_prefix(chain: Chain, pool: Sequence[int]) -> IntArray:
    """Returns the prefix of a pool: each block at the mean rate of its devices."""
    counts = np.array([chain.counts[kind] for kind in pool], np.float64)[:, None]
    times = np.maximum(np.diff(chain.prefix[list(pool)], axis=1), 1)
    mean = counts.sum() / (counts / times).sum(axis=0)
    return np.concatenate(([0], np.ceil(mean).astype(np.int64).cumsum()))
