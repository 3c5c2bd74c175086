"""Why a demand cannot be met, and by how much."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from onnxmesh.errors import InvalidPlan
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.plan import Demand
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.packing import pack_memory

_MOST_ADDED = 64
"""Devices that are tried on top of those there are."""
_FEW = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def check_counts(costs: GraphCosts, cluster: Cluster, demand: Demand) -> None:
    """Refuses what no search is needed to refuse.

    Raises:
        InvalidPlan: Fewer than one stage or replica, more stages than the model has parts, or more than
            there are devices for (INVALID_ARGUMENT).
    """
    stages, replicas, devices = demand.num_stages, demand.replicas, cluster.num_devices
    if stages is not None and stages < 1:
        raise InvalidPlan(f"a model is run in at least 1 stage; {stages} were asked for")
    if replicas is not None and replicas < 1:
        raise InvalidPlan(f"a stage is held by at least 1 device; {replicas} were asked for")
    if stages is not None and stages > costs.max_stages:
        raise InvalidPlan(
            f"model can be cut into at most {plural(costs.max_stages, 'stage')}; {stages} were asked for"
        )
    least = (replicas or 1) if demand.share else (replicas or 1) * (stages or 1)
    if least > devices:
        several = not demand.share and stages is not None and stages > 1
        what = f"{stages} stages" if several else "each stage"
        each = f" in {plural(replicas, 'replica')}" if replicas is not None and replicas > 1 else ""
        raise InvalidPlan(
            f"{what}{each} need{'' if several else 's'} {plural(least, 'device')}; there {_are(devices)}: "
            f"{_few(least - devices)} more would do"
        )


def explain_infeasibility(costs: GraphCosts, cluster: Cluster, chain: Chain, demand: Demand) -> str:
    """Returns which limit of memory binds, by how much, and what would do instead.

    Args:
        costs: The graph.
        cluster: The devices.
        chain: What both are in numbers.
        demand: For which no assignment was found that fits.
    """
    roomiest = max(cluster.kinds, key=lambda kind: (kind.memory_bytes is None, kind.memory_bytes or 0))
    room = roomiest.memory_bytes
    part = max(
        pairwise(int(position) for position in chain.positions), key=lambda nodes: costs.peak_bytes(*nodes)
    )
    peak = costs.peak_bytes(*part)
    shared = f" (a device is to hold {chain.slots} stages)" if chain.slots > 1 else ""
    if room is not None and peak > room // chain.slots:
        name = costs.nodes[part[0]].name
        several = part[1] - part[0] > 1
        nodes = (
            f"nodes {part[0]} to {part[1] - 1}, from '{name}' on" if several else f"node {part[0]}, '{name}'"
        )
        return (
            f"stage of {in_bytes(peak)} fits no device; the largest ('{roomiest.name}') has "
            f"{in_bytes(room // chain.slots)}{shared}: {nodes}, cannot be cut apart"
        )
    replicas = demand.replicas or 1
    wanted = demand.num_stages
    stages = "the model" if wanted is None else plural(wanted, "stage")
    each = f" in {replicas} replicas" if replicas > 1 else ""
    rooms = [kind.memory_bytes and kind.memory_bytes * kind.count for kind in cluster.kinds]
    together = "" if None in rooms else f" with {in_bytes(sum(room or 0 for room in rooms))} together"
    weights = costs.weight_bytes(0, len(costs.nodes))
    message = (
        f"{stages}{each} with {in_bytes(weights)} of weights and up to "
        f"{in_bytes(max(node.working_bytes for node in costs.nodes))} of working memory "
        f"{'does' if wanted is None else 'do' if wanted > 1 else 'does'} not fit "
        f"{plural(cluster.num_devices, 'device')}{together}{shared}"
    )
    if wanted is not None:
        most = min(costs.max_stages, sum(chain.counts) // replicas)
        better = next((k for k in range(wanted + 1, most + 1) if pack_memory(chain, k, replicas)), None)
        if better is not None:
            return f"{message}; {plural(better, 'stage')} would fit"
    enough = _enough(chain, wanted, replicas)
    if enough is None:
        return message
    kind, added = enough
    more = f"{_few(added)} more device{'' if added == 1 else 's'} of kind '{cluster.kinds[kind].name}'"
    return f"{message}; {more} would do"


def in_bytes(num_bytes: int) -> str:
    """Returns a size for people: in the largest decimal unit of which it has at least one."""
    for name, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {name}"
    return f"{num_bytes} bytes"


def plural(count: int, noun: str) -> str:
    """Returns a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _enough(chain: Chain, num_stages: int | None, replicas: int) -> tuple[int, int] | None:
    """Returns the kind of which the fewest more devices would do, and how many; None if no few would."""
    most = _MOST_ADDED
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


def _few(count: int) -> str:
    return _FEW[count] if count < len(_FEW) else str(count)


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"
