"""Choosing where to cut a graph and which devices hold the stages."""

from __future__ import annotations

from itertools import pairwise

from onnxmesh.errors import InvalidPlan
from onnxmesh.planning.chain_problem import ChainProblem
from onnxmesh.planning.cluster import Cluster
from onnxmesh.planning.device_speed import PICOSECONDS
from onnxmesh.planning.graph_costs import GraphCosts
from onnxmesh.planning.node_times import node_times
from onnxmesh.planning.plan import Demand, Plan, StagePlan, WholeModel
from onnxmesh.planning.profile import Profile


def make_plan(costs: GraphCosts, cluster: Cluster, demand: Demand, profile: Profile | None = None) -> Plan:
    """PLACEHOLDER of the contract: first kind only, one replica, fewest stages."""
    kind = cluster.kinds[0]
    link = cluster.link(kind.name, kind.name)
    times = node_times(costs, kind, profile)
    positions = (0, *costs.legal_cuts, len(costs.nodes))
    crossing = [costs.boundaries[p - 1].num_bytes for p in positions[1:-1]]
    problem = ChainProblem(
        cost=[sum(times[a:b]) for a, b in pairwise(positions)],
        transfer=[0, *(link.transfer_ps(size) for size in crossing), 0],
        num_bytes=[0, *crossing, 0],
    )
    num_stages = demand.num_stages or 1
    if num_stages > costs.max_stages:
        raise InvalidPlan(
            f"model can be cut into at most {costs.max_stages} stages; {num_stages} were asked for"
        )
    cuts: tuple[int, ...] = ()
    if costs.nodes:
        best = problem.minimal_bound(num_stages)
        assert best is not None
        found = problem.fewest_bytes(num_stages, best)
        assert found is not None
        cuts = tuple(positions[block] for block in found[1])
    stages = []
    for start, end in pairwise((0, *cuts, len(costs.nodes))):
        size = 0 if end == len(costs.nodes) else costs.boundaries[end - 1].num_bytes
        compute = sum(times[start:end]) / PICOSECONDS
        transfer = link.transfer_ps(size) / PICOSECONDS if size else 0.0
        stages.append(
            StagePlan(start, end, ((kind.name, 1),), compute, transfer, compute + transfer, size,
                      costs.weight_bytes(start, end), costs.peak_bytes(start, end))
        )  # fmt: skip
    whole = WholeModel(kind.name, sum(times) / PICOSECONDS, costs.peak_bytes(0, len(costs.nodes)), fits=True)
    return Plan(demand.objective, tuple(stages), whole, f"{num_stages} stages")
