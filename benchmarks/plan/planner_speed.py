"""Time of the planner for large realistic graphs and many devices of several kinds."""

from __future__ import annotations

import random
from time import perf_counter

from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.graph_costs import Boundary, GraphCosts, InputUse, NodeCost
from onnxmesh.model.link import LinkSpec
from onnxmesh.model.plan import Demand, Plan
from onnxmesh.model.signature import Signature
from onnxmesh.planning.planner import make_plan

_PATTERN = 200
"""Nodes of a block of a network, which repeats with other sizes."""
_SKIP = 10
"""Nodes that a skip connection spans; boundaries within it are large."""


def random_costs(num_nodes: int, seed: int = 0) -> GraphCosts:
    """Returns the costs of a realistic network: a repeated pattern of nodes.

    Of ten nodes one is a large product with weights, the rest is cheap; skip connections make most boundaries
    several tensors wide, and one in twenty cannot be cut.
    """
    rng = random.Random(seed)
    pattern = [
        (
            "MatMul" if i % _SKIP == 0 else rng.choice(["Add", "Mul", "Softmax", "Transpose"]),
            rng.randrange(5, 50) * 10**7 if i % _SKIP == 0 else rng.randrange(10**4, 10**6),
            rng.randrange(1, 9) * 10**5,
            rng.randrange(1, 20) * 10**6 if i % _SKIP == 0 else 0,
        )
        for i in range(_PATTERN)
    ]
    nodes, boundaries, weights = [], [], []
    for i in range(num_nodes):
        op_type, flops, moved, weight_bytes = pattern[i % _PATTERN]
        # Deeper layers have smaller images and more channels.
        scale = 1 + (i // _PATTERN) % 4
        uses: tuple[int, ...] = ()
        if weight_bytes:
            uses = (len(weights),)
            weights.append(weight_bytes * scale)
        working_bytes = 4 * moved // scale
        nodes.append(NodeCost(f"{op_type}_{i}", op_type, flops, moved + weight_bytes, uses, working_bytes))
        if i + 1 < num_nodes:
            tensors = 1 if (i + 1) % _SKIP == 0 else rng.randrange(2, 5)
            obstacle = "a sequence crosses" if rng.random() < 0.05 else None
            boundaries.append(Boundary(tensors * 200_000 // scale, tensors, obstacle))
    inputs = (InputUse("image", 600_000, (0,)), InputUse("mask", 8_000, (0, num_nodes // 2, num_nodes - 1)))
    return GraphCosts(tuple(nodes), tuple(boundaries), tuple(weights), inputs, Signature((), ()))


def mixed_cluster(num_kinds: int = 4, devices_each: int = 4) -> Cluster:
    """Returns kinds of devices each half as fast as the one before, with links of several speeds."""
    kinds = tuple(
        DeviceKind(
            f"kind-{i}",
            devices_each,
            DeviceSpeed(400e9 / 2**i, 80e9 / 2**i, 2e-6),
            memory_bytes=(8 if i % 2 else 24) * 10**9,
        )
        for i in range(num_kinds)
    )
    links = {
        (a.name, b.name): LinkSpec(bytes_per_s=10e9 / (1 + abs(i - j)), latency_s=50e-6 * (1 + abs(i - j)))
        for i, a in enumerate(kinds)
        for j, b in enumerate(kinds)
    }
    return Cluster(kinds, links)


def seconds(
    num_nodes: int = 5_000, num_kinds: int = 4, devices_each: int = 4, demand: Demand | None = None
) -> tuple[float, Plan]:
    """Returns the time of the planner and the plan."""
    costs, cluster = random_costs(num_nodes), mixed_cluster(num_kinds, devices_each)
    began = perf_counter()
    plan = make_plan(costs, cluster, demand or Demand(replicas=None))
    return perf_counter() - began, plan
