"""A graph and a cluster as a chain of blocks with integer times: the input of every search."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TypeAlias

import numpy as np

from onnxmesh.model.cluster import Cluster
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.node_times import node_times
from onnxmesh.model.profile import Profile
from onnxmesh.planning.search.int_array import FEASIBLE_BITS, IntArray
from onnxmesh.planning.search.stage_costs import StageCosts

DeviceGroup: TypeAlias = tuple[tuple[int, int], ...]
"""The devices of a stage: (position of the kind, number of devices) for each kind, ascending."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """A chain of blocks that may be cut between any two, and the kinds of devices that may hold stages.

    Attributes:
        positions: Shape (blocks + 1,): positions in the topological order: the legal cuts and both ends.
        prefix: Shape (kinds, blocks + 1): time of all blocks before each position on each kind.
        transfer: Shape (kinds, kinds, blocks + 1): time to send the boundary at each position from one kind to
            another; 0 at both ends.
        crossing: Shape (blocks + 1,): bytes of the boundary at each position; 0 at both ends.
        first_start: Shape (kinds, blocks + 1): for each end, the first start with which a stage fits the
            memory of that kind; the end itself if not even one block fits.
        counts: Slots of each kind; a slot holds one stage.
        slots: Slots of each device, equal parts of its time and memory; 1 unless devices hold several stages.
        unit_ps: Picoseconds in a unit of time: 1, unless sums of a slow model would overflow.
    """

    positions: IntArray
    prefix: IntArray
    transfer: IntArray
    crossing: IntArray
    first_start: IntArray
    counts: tuple[int, ...]
    slots: int = 1
    unit_ps: int = 1

    @property
    def num_blocks(self) -> int:
        """The number of blocks."""
        return len(self.positions) - 1

    @property
    def num_kinds(self) -> int:
        """The number of kinds of devices."""
        return len(self.counts)

    @classmethod
    def of(cls, costs: GraphCosts, cluster: Cluster, profile: Profile | None = None, slots: int = 1) -> Chain:
        """Converts a graph and a cluster into a chain.

        Args:
            costs: The graph.
            cluster: The devices and links.
            profile: Measured times, or None.
            slots: Number of stages that a device may hold, each in an equal part of its memory.

        Raises:
            InvalidPlan: The profile is of another graph (INVALID_ARGUMENT).
        """
        n = len(costs.nodes)
        positions = [0, *costs.legal_cuts, n]
        times = [list(accumulate(node_times(costs, kind, profile), initial=0)) for kind in cluster.kinds]
        crossing = [0, *crossing_bytes(costs, cluster), 0]
        sending = {
            link: [0, *(link.transfer_ps(size) for size in crossing[1:-1]), 0]
            for link in {cluster.link(a.name, b.name) for a in cluster.kinds for b in cluster.kinds}
        }
        most = max(row[-1] for row in times) + len(positions) * max(map(max, sending.values()))
        shift = max(0, most.bit_length() - FEASIBLE_BITS)
        starts = {
            memory: first_starts(costs, positions, None if memory is None else memory // slots)
            for memory in {kind.memory_bytes for kind in cluster.kinds}
        }
        return cls(
            positions=np.array(positions, np.int64),
            prefix=np.array([[row[p] >> shift for p in positions] for row in times], np.int64),
            transfer=np.array(
                [
                    [[t >> shift for t in sending[cluster.link(a.name, b.name)]] for b in cluster.kinds]
                    for a in cluster.kinds
                ],
                np.int64,
            ),
            crossing=np.array(crossing, np.int64),
            first_start=np.array([starts[kind.memory_bytes] for kind in cluster.kinds], np.int64),
            counts=tuple(kind.count * slots for kind in cluster.kinds),
            slots=slots,
            unit_ps=1 << shift,
        )

    def units(self, kinds: Sequence[int], size: int) -> int:
        """Returns the number of stages that those kinds can hold with `size` different devices each."""
        total = sum(self.counts[kind] for kind in kinds)
        return total // size if total >= size * self.slots else 0

    def restricted_to(self, positions: Sequence[int]) -> Chain:
        """Returns the chain with a subset of its positions, ascending, both ends among them."""
        index = np.array(positions, np.int64)
        starts = np.searchsorted(index, self.first_start[:, index])
        return replace(
            self,
            positions=self.positions[index],
            prefix=self.prefix[:, index],
            transfer=self.transfer[:, :, index],
            crossing=self.crossing[index],
            first_start=np.minimum(starts, np.arange(len(index))),
        )

    def stage(self, group: DeviceGroup, following: DeviceGroup | None) -> StageCosts:
        """Returns the costs of a stage on a device group that sends to another group; None: the last stage."""
        kinds = [kind for kind, _ in group]
        if following is None:
            transfer = np.zeros((len(kinds), self.num_blocks + 1), np.int64)
        else:
            transfer = self.transfer[kinds][:, [kind for kind, _ in following]].max(axis=1)
        return StageCosts(
            prefix=self.prefix[kinds],
            transfer=transfer,
            counts=tuple(count for _, count in group),
            first_start=self.first_start[kinds].max(axis=0),
        )

    def stages(self, groups: Sequence[DeviceGroup]) -> tuple[StageCosts, ...]:
        """Returns the costs of consecutive stages."""
        return tuple(self.stage(group, following) for group, following in pairwise((*groups, None)) if group)


def crossing_bytes(costs: GraphCosts, cluster: Cluster) -> list[int]:
    """Estimates the bytes that cross each legal cut: computed tensors, and inputs that are probably carried.

    An input whose transfer takes less than the latency of a message is assumed to be carried to its last reader, a
    larger one to be direct. `input_transfers` decides exactly once the stages are known.
    """
    link = cluster.default_link
    small = link.latency_s * link.bytes_per_s
    carried = [use for use in costs.inputs if use.readers and use.num_bytes < small]
    return [
        costs.boundaries[p - 1].num_bytes + sum(use.num_bytes for use in carried if use.readers[-1] >= p)
        for p in costs.legal_cuts
    ]


def first_starts(costs: GraphCosts, positions: Sequence[int], memory_bytes: int | None) -> list[int]:
    """Returns for each end of a stage the first start with which it fits; the end itself if none does.

    A window slides over the blocks. It counts each weight once, however many nodes share it, and keeps the largest
    working memory at the head of a monotonic queue: O(nodes + weights read).
    """
    num_blocks = len(positions) - 1
    if memory_bytes is None:
        return [0] * (num_blocks + 1)
    weights, working = blocks_memory(costs, positions)
    starts = [0]
    users: dict[int, int] = {}
    peaks: deque[int] = deque()
    window_bytes = start = 0
    for end in range(1, num_blocks + 1):
        for weight in weights[end - 1]:
            users[weight] = users.get(weight, 0) + 1
            window_bytes += costs.weights[weight] if users[weight] == 1 else 0
        while peaks and working[peaks[-1]] <= working[end - 1]:
            peaks.pop()
        peaks.append(end - 1)
        while start < end and window_bytes + working[peaks[0]] > memory_bytes:
            for weight in weights[start]:
                users[weight] -= 1
                window_bytes -= costs.weights[weight] if users[weight] == 0 else 0
            start += 1
            if peaks[0] < start:
                peaks.popleft()
        starts.append(start)
    return starts


def blocks_memory(costs: GraphCosts, positions: Sequence[int]) -> tuple[list[list[int]], list[int]]:
    """Returns for each block the weights that it reads, each once, and the largest working memory of its nodes."""
    between = list(pairwise(positions))
    weights = [
        sorted({weight for node in costs.nodes[start:end] for weight in node.weights})
        for start, end in between
    ]
    working = [
        max((node.working_bytes for node in costs.nodes[start:end]), default=0) for start, end in between
    ]
    return weights, working
