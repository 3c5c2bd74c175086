"""What would relieve the slowest stage of a plan, in one sentence."""

from __future__ import annotations

from onnxmesh.planning.cluster import Cluster
from onnxmesh.planning.graph_costs import GraphCosts
from onnxmesh.planning.plan import Demand, Plan
from onnxmesh.planning.profile import Profile


def relief_sentence(
    costs: GraphCosts, cluster: Cluster, demand: Demand, plan: Plan, profile: Profile | None
) -> str:
    """Returns a sentence, or nothing where nothing would.

    Args:
        costs: Of the graph.
        cluster: That the plan was made for.
        demand: That it answers.
        plan: The plan.
        profile: With which it was made, if any.
    """
    stage = plan.stages[plan.bottleneck]
    if stage.transfer_s > stage.compute_s:
        return "it sends for longer than it computes: a faster link would relieve it"
    if not any(stage.start < position < stage.end for position in costs.legal_cuts):
        return "it cannot be cut finer: a faster device or a replica would relieve it"
    return "a faster device, a replica or one more stage would relieve it"
