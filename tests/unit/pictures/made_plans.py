"""Plans to draw, with everything that a picture has to cope with."""

from __future__ import annotations

import random
from itertools import pairwise

from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.device_speed import PICOSECONDS, DeviceSpeed
from onnxmesh.model.graph_costs import Boundary, GraphCosts, InputUse, NodeCost
from onnxmesh.model.node_times import node_times
from onnxmesh.model.plan import Objective, Plan, StagePlan, WholeModel
from onnxmesh.model.signature import Signature
from onnxmesh.pictures.plan_facts import PlanFacts, plan_facts

OPERATORS = (
    "MatMul",
    "Add",
    "Softmax",
    "LayerNormalization",
    "com.microsoft.FastGelu<&>",
    "Mul",
    "Erf",
    "Div",
    "Cast",
)
KINDS = (
    DeviceKind("box", 40, DeviceSpeed(2e10, 1e10), 4 * 10**9),
    DeviceKind('card <&> "7"', 40, DeviceSpeed(2e12, 3e11, 5e-6), 24 * 10**9),
    DeviceKind("a very long name of a device that is never typed", 40),
)


def made_plan(num_stages: int, num_nodes: int, seed: int = 0, model: str = "model") -> PlanFacts:
    """Returns a plan of so many stages: mixed devices, replicas, direct inputs, stages of nearly no time."""
    rng = random.Random(seed)
    nodes = tuple(
        NodeCost(
            f"n{i}", rng.choice(OPERATORS), int(10 ** rng.uniform(3, 9)), 1000, (i,), rng.randrange(1, 10**8)
        )
        for i in range(num_nodes)
    )
    boundaries = tuple(
        Boundary(int(10 ** rng.uniform(0, 9)), 1, None if rng.random() < 0.7 else "a sequence")
        for _ in range(num_nodes - 1)
    )
    inputs = (
        InputUse("tokens", 4096, (0,)),
        InputUse("mask_of_the_encoder_that_has_a_long_name", 8192000, tuple(range(0, num_nodes, 3))),
        InputUse("pos<&>", 80, tuple(range(0, num_nodes, 2))),
    )
    weights = tuple(rng.randrange(10**9 // num_nodes) for _ in range(num_nodes))
    costs = GraphCosts(nodes, boundaries, weights, inputs, Signature((), ()))
    cuts = sorted(rng.sample(range(1, num_nodes), num_stages - 1))
    stages = []
    for index, (start, end) in enumerate(pairwise((0, *cuts, num_nodes))):
        devices: tuple[tuple[str, int], ...] = ((KINDS[index % 3].name, rng.choice((1, 1, 2, 12))),)
        if index % 4 == 1:
            devices += ((KINDS[(index + 1) % 3].name, 1),)
        size = 0 if end == num_nodes else boundaries[end - 1].num_bytes
        kinds = [kind for kind in KINDS if kind.name in dict(devices)]
        compute_s = max(sum(node_times(costs, kind)[start:end]) for kind in kinds) / PICOSECONDS
        direct = ("pos<&>",) if index % 3 == 1 else (inputs[1].name, "pos<&>") if index % 5 == 2 else ()
        stages.append(
            StagePlan(
                start=start,
                end=end,
                devices=devices,
                compute_s=compute_s,
                transfer_s=size / 1e9,
                period_s=(compute_s + size / 1e9) / sum(count for _, count in devices),
                boundary_bytes=size,
                weight_bytes=costs.weight_bytes(start, end),
                peak_bytes=costs.peak_bytes(start, end),
                direct_inputs=direct,
            )
        )
    whole_s = sum(node_times(costs, KINDS[0])) / PICOSECONDS
    whole = WholeModel(KINDS[0].name, whole_s, costs.peak_bytes(0, num_nodes), fits=num_stages % 2 == 0)
    plan = Plan(Objective.THROUGHPUT, tuple(stages), whole, "made up")
    return plan_facts(model, plan, costs, Cluster(KINDS), None, "estimated")
