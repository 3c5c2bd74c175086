"""What would make a plan better: a device, a link, or nothing that can be bought."""

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

_WORTH_SAYING = 1.02


@dataclass(frozen=True, slots=True)
class PlanImprovement:
    """A way to relieve the bottleneck of a plan.

    Attributes:
        sentence: For people, without a full stop.
        gain: How many times the throughput (or speed of one request) it is predicted to give; 1 where nothing helps.
    """

    sentence: str
    gain: float


def find_improvement(
    costs: GraphCosts, cluster: Cluster, demand: Demand, plan: Plan, profile: Profile | None = None
) -> PlanImprovement | None:
    """Returns what would help a plan most, by planning again with it; None if nothing tried brings 2 %.

    Tried are one more device of each kind, with one more stage too where their number is given, and twice the
    bandwidth of the link on which the bottleneck sends. If none of it helps and the slowest stage is a part of the model
    that cannot be cut, the answer says so. The searches share the budget of one.

    Args:
        costs: The graph.
        cluster: The devices that the plan was made for.
        demand: What the plan was made for.
        plan: What `make_plan` gave.
        profile: The one that it was given.
    """
    latency = demand.objective is Objective.LATENCY
    options = list(_options(costs, cluster, demand, plan))
    best: PlanImprovement | None = None
    for what, larger, wish in options:
        try:
            then = make_plan(costs, larger, wish, profile, budget=SEARCH_BUDGET // len(options))
        except InvalidPlan:
            continue
        now_s, then_s = (plan.latency_s, then.latency_s) if latency else (plan.period_s, then.period_s)
        gain = now_s / then_s if then_s > 0 else 1.0
        if gain >= _WORTH_SAYING and (best is None or gain > best.gain):
            result = (
                f"answer one request {gain:.2g} x as fast" if latency else f"give {gain:.2g} x the throughput"
            )
            best = PlanImprovement(f"{what} would {result}", gain)
    if best is not None:
        return best
    slowest = plan.stages[plan.bottleneck]
    if latency or any(slowest.start < cut < slowest.end for cut in costs.legal_cuts):
        return None
    return PlanImprovement(
        f"nothing that was tried helps: the slowest stage, nodes {slowest.start} to {slowest.end - 1}, "
        "cannot be cut finer",
        1.0,
    )


def _options(
    costs: GraphCosts, cluster: Cluster, demand: Demand, plan: Plan
) -> Iterator[tuple[str, Cluster, Demand]]:
    """Yields what to try: in words, as a cluster and as a demand."""
    for index, kind in enumerate(cluster.kinds):
        kinds = list(cluster.kinds)
        kinds[index] = replace(kind, count=kind.count + 1)
        larger = replace(cluster, kinds=tuple(kinds))
        yield f"one more '{kind.name}'", larger, demand
        if demand.num_stages is not None and demand.num_stages < costs.max_stages:
            wish = replace(demand, num_stages=demand.num_stages + 1)
            yield f"one more '{kind.name}' and a stage more", larger, wish
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
