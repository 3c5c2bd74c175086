"""Improvement of a plan: the additional device or faster link that gains most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from onnxmesh.errors import InvalidPlan
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.plan import Demand, Objective, Plan
from onnxmesh.model.profile import Profile
from onnxmesh.planning.planner import make_plan
from onnxmesh.planning.search.search_space import SEARCH_BUDGET
from onnxmesh.quantities import TIMES

_MIN_GAIN = 1.02


@dataclass(frozen=True, slots=True)
class PlanImprovement:
    """A change of the cluster that relieves the bottleneck of a plan.

    Attributes:
        sentence: Description for people, without a full stop.
        gain: Predicted ratio of throughput (or of latency, inverted) to that of the plan; 1 where nothing helps.
    """

    sentence: str
    gain: float


def find_improvement(
    costs: GraphCosts, cluster: Cluster, demand: Demand, plan: Plan, profile: Profile | None = None
) -> PlanImprovement | None:
    """Returns the change with the largest gain, found by planning again; None if none gains 2 %.

    The changes tried are one more device of each kind, with one more stage too where their number is given, and twice
    the bandwidth of the link after the bottleneck. If none helps and the slowest stage is a part of the model that
    cannot be cut, the result says so. All searches together have the budget of one.

    Args:
        costs: The graph.
        cluster: The cluster of the plan.
        demand: The demand of the plan.
        plan: Result of `make_plan`.
        profile: The profile of the plan, if any.
    """
    latency = demand.objective is Objective.LATENCY
    options = list(_options(costs, cluster, demand, plan))
    best: PlanImprovement | None = None
    for what, larger, larger_demand in options:
        try:
            improved = make_plan(costs, larger, larger_demand, profile, budget=SEARCH_BUDGET // len(options))
        except InvalidPlan:
            continue
        now_s, then_s = (
            (plan.latency_s, improved.latency_s) if latency else (plan.period_s, improved.period_s)
        )
        gain = now_s / then_s if then_s > 0 else 1.0
        if gain >= _MIN_GAIN and (best is None or gain > best.gain):
            result = (
                f"reduce the latency to {100 / gain:.0f} %"
                if latency
                else f"give {gain:.2f} {TIMES} the throughput"
            )
            best = PlanImprovement(f"{what} would {result}", gain)
    if best is not None:
        return best
    slowest = plan.stages[plan.bottleneck]
    if (
        latency
        or slowest.start == slowest.end
        or any(slowest.start < cut < slowest.end for cut in costs.legal_cuts)
    ):
        return None
    return PlanImprovement(
        f"no other device or link helps: the slowest stage, nodes {slowest.start} to {slowest.end - 1}, "
        "cannot be cut further",
        1.0,
    )


def _options(
    costs: GraphCosts, cluster: Cluster, demand: Demand, plan: Plan
) -> Iterator[tuple[str, Cluster, Demand]]:
    """Yields the changes to try: a description, the changed cluster and the changed demand."""
    for index, kind in enumerate(cluster.kinds):
        kinds = list(cluster.kinds)
        kinds[index] = replace(kind, count=kind.count + 1)
        larger = replace(cluster, kinds=tuple(kinds))
        yield f"1 more device of kind '{kind.name}'", larger, demand
        if demand.num_stages is not None and demand.num_stages < costs.max_stages:
            larger_demand = replace(demand, num_stages=demand.num_stages + 1)
            yield f"1 more device of kind '{kind.name}' and 1 more stage", larger, larger_demand
    sender = plan.bottleneck
    if sender + 1 < len(plan.stages):
        pairs = {
            (source, target)
            for source, _ in plan.stages[sender].devices
            for target, _ in plan.stages[sender + 1].devices
        }
        links = dict(cluster.links)
        for source, target in sorted(pairs):
            link = cluster.link(source, target)
            links[source, target] = replace(link, bytes_per_s=2 * link.bytes_per_s)
        names = " and ".join(f"'{source}' and '{target}'" for source, target in sorted(pairs))
        yield f"twice the bandwidth between {names}", replace(cluster, links=links), demand
