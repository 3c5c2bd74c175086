"""Building a plan from an assignment."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

from onnxmesh.model.cluster import Cluster
from onnxmesh.model.device_speed import PICOSECONDS
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.plan import Objective, Plan, StagePlan, WholeModel
from onnxmesh.planning.input_transfers import choose_input_transfers, slowest_link
from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain, DeviceGroup


def build_plan(
    costs: GraphCosts, cluster: Cluster, chain: Chain, assignment: Assignment, objective: Objective
) -> Plan:
    """Builds the plan of an assignment, with the cheaper transfer for each input; `why` is empty.

    Args:
        costs: The graph.
        cluster: The devices.
        chain: Graph and cluster as a chain of blocks.
        assignment: Cuts, as positions of the chain, and device groups.
        objective: The objective of the plan.
    """
    cuts = [int(chain.positions[cut]) for cut in assignment.cuts]
    transfers = choose_input_transfers(costs, cluster, cuts, assignment.groups)
    stages = []
    followings: list[DeviceGroup | None] = [*assignment.groups[1:], None]
    blocks = assignment.ranges(chain)
    for stage, (start, end) in enumerate(pairwise((0, *cuts, len(costs.nodes)))):
        group, following = assignment.groups[stage], followings[stage]
        size = 0
        if following is not None:
            size = costs.boundaries[end - 1].num_bytes + transfers.carried_bytes[stage]
        first, last = blocks[stage]
        computing = {
            kind: int(chain.prefix[kind, last] - chain.prefix[kind, first]) * chain.unit_ps
            for kind, _ in group
        }
        sending = {
            kind: 0
            if following is None
            else slowest_link(cluster, ((kind, 1),), following, size).transfer_ps(size)
            for kind, _ in group
        }
        stages.append(
            StagePlan(
                start=start,
                end=end,
                devices=tuple((cluster.kinds[kind].name, count) for kind, count in group),
                compute_s=max(computing.values()) / PICOSECONDS,
                transfer_s=max(sending.values()) / PICOSECONDS,
                period_s=_period_ps(group, computing, sending) * chain.slots / PICOSECONDS,
                boundary_bytes=size,
                weight_bytes=costs.weight_bytes(start, end),
                peak_bytes=costs.peak_bytes(start, end),
                direct_inputs=transfers.direct[stage],
            )
        )
    return Plan(objective, tuple(stages), estimate_whole_model(costs, cluster, chain), why="")


def estimate_whole_model(costs: GraphCosts, cluster: Cluster, chain: Chain) -> WholeModel:
    """Estimates the uncut model on the fastest device that it fits; on the fastest of all if it fits none."""
    peak = costs.peak_bytes(0, len(costs.nodes))
    fitting = [
        index
        for index, kind in enumerate(cluster.kinds)
        if kind.memory_bytes is None or kind.memory_bytes >= peak
    ]
    best = min(fitting or range(len(cluster.kinds)), key=lambda index: (int(chain.prefix[index, -1]), index))
    return WholeModel(
        kind=cluster.kinds[best].name,
        compute_s=int(chain.prefix[best, -1]) * chain.unit_ps / PICOSECONDS,
        peak_bytes=peak,
        fits=bool(fitting),
    )


def _period_ps(group: DeviceGroup, computing: dict[int, int], sending: dict[int, int]) -> int:
    """Returns the period of a stage: the inverse of the sum of its devices' rates."""
    if len(group) == 1:
        ((kind, count),) = group
        return -(-(computing[kind] + sending[kind]) // count)
    return ceil(1 / sum(count / max(1, computing[kind] + sending[kind]) for kind, count in group))
