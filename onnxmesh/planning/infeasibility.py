"""Explanations of a demand that cannot be met: the limit that is exceeded, and by how much."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from onnxmesh.errors import InvalidPlan
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.plan import Demand
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.packing import pack_memory
from onnxmesh.quantities import bytes_text, count_text

_MAX_ADDED_DEVICES = 64
"""Most additional devices that are tried."""


def check_counts(costs: GraphCosts, cluster: Cluster, demand: Demand) -> None:
    """Validates numbers of stages, replicas and devices, before any search.

    Raises:
        InvalidPlan: Fewer than one stage or replica, more stages than the model has cut points for, or more than
            there are devices for (INVALID_ARGUMENT).
    """
    stages, replicas, devices = demand.num_stages, demand.replicas, cluster.num_devices
    if stages is not None and stages < 1:
        raise InvalidPlan(f"stages: expected at least 1, got {stages}")
    if replicas is not None and replicas < 1:
        raise InvalidPlan(f"replicas: expected at least 1, got {replicas}")
    if stages is not None and stages > costs.max_stages:
        raise InvalidPlan(
            f"model can be cut into at most {count_text(costs.max_stages, 'stage')}, got {stages}"
        )
    least = (replicas or 1) if demand.share else (replicas or 1) * (stages or 1)
    if least > devices:
        several = not demand.share and stages is not None and stages > 1
        what = f"{stages} stages" if several else "each stage"
        each = f" in {count_text(replicas, 'replica')}" if replicas is not None and replicas > 1 else ""
        raise InvalidPlan(
            f"{what}{each} need{'' if several else 's'} {count_text(least, 'device')}; there {_are(devices)}: "
            f"{least - devices} more needed"
        )


def explain_infeasibility(costs: GraphCosts, cluster: Cluster, chain: Chain, demand: Demand) -> str:
    """Explains which memory limit is exceeded, by how much, and what would suffice.

    Args:
        costs: The graph.
        cluster: The devices.
        chain: Graph and cluster as a chain of blocks.
        demand: The demand for which no assignment fits.
    """
    largest = max(cluster.kinds, key=lambda kind: (kind.memory_bytes is None, kind.memory_bytes or 0))
    limit = largest.memory_bytes
    part = max(
        pairwise(int(position) for position in chain.positions), key=lambda nodes: costs.peak_bytes(*nodes)
    )
    peak = costs.peak_bytes(*part)
    shared = f" (each device holds {chain.slots} stages)" if chain.slots > 1 else ""
    if limit is not None and peak > limit // chain.slots:
        name = costs.nodes[part[0]].name
        several = part[1] - part[0] > 1
        nodes = (
            f"nodes {part[0]} to {part[1] - 1}, from '{name}' on" if several else f"node {part[0]}, '{name}'"
        )
        return (
            f"stage of {bytes_text(peak)} fits no device; the largest ('{largest.name}') has "
            f"{bytes_text(limit // chain.slots)}{shared}: {nodes}, cannot be cut further"
        )
    replicas = demand.replicas or 1
    wanted = demand.num_stages
    stages = "the model" if wanted is None else count_text(wanted, "stage")
    each = f" in {replicas} replicas" if replicas > 1 else ""
    totals = [kind.memory_bytes and kind.memory_bytes * kind.count for kind in cluster.kinds]
    together = "" if None in totals else f" with {bytes_text(sum(total or 0 for total in totals))} together"
    weights = costs.weight_bytes(0, len(costs.nodes))
    message = (
        f"{stages}{each} with {bytes_text(weights)} of weights and up to "
        f"{bytes_text(max(node.working_bytes for node in costs.nodes))} of working memory "
        f"{'does' if wanted is None else 'do' if wanted > 1 else 'does'} not fit "
        f"{count_text(cluster.num_devices, 'device')}{together}{shared}"
    )
    if wanted is not None:
        most = min(costs.max_stages, sum(chain.counts) // replicas)
        better = next((k for k in range(wanted + 1, most + 1) if pack_memory(chain, k, replicas)), None)
        if better is not None:
            return f"{message}; {count_text(better, 'stage')} would fit"
    enough = _enough(chain, wanted, replicas)
    if enough is None:
        return message
    kind, added = enough
    return f"{message}; {count_text(added, 'more device')} of kind '{cluster.kinds[kind].name}' would suffice"


def _enough(chain: Chain, num_stages: int | None, replicas: int) -> tuple[int, int] | None:
    """Returns the kind of which the fewest additional devices suffice, and their number; None if none suffices."""
    most = _MAX_ADDED_DEVICES
    best = None
    for kind in range(chain.num_kinds):
        low, high = 1, most
        while low <= high:
            middle = (low + high) // 2
            counts = list(chain.counts)
            counts[kind] += middle * chain.slots
            if pack_memory(replace(chain, counts=tuple(counts)), num_stages, replicas) is None:
                low = middle + 1
            else:
                best, most = (kind, middle), middle - 1
                high = most
    return best


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"
