"""Choosing where to cut a graph and which devices hold the stages."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.errors import InvalidPlan
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.plan import Demand, Objective, Plan
from onnxmesh.model.profile import Profile
from onnxmesh.planning.infeasibility import check_counts, explain_infeasibility, in_bytes, plural
from onnxmesh.planning.plan_builder import build_plan
from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.candidates import PlanCandidates, find_candidates, objective_value
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.fewest_bytes import with_fewest_bytes
from onnxmesh.planning.search.search_space import SEARCH_BUDGET
from onnxmesh.planning.search.uniform import uniform_assignment

_WORTHWHILE_PERCENT = 10
"""By how much more stages must beat fewer: each adds a message and a wait to every request."""


def make_plan(
    costs: GraphCosts,
    cluster: Cluster,
    demand: Demand,
    profile: Profile | None = None,
    *,
    budget: int = SEARCH_BUDGET,
) -> Plan:
    """Cuts a graph into stages and gives them devices, as the objective asks.

    A device is busy with a request while it runs its stage and while it sends what crosses the cut after it; a
    stage of several replicas takes requests at the sum of their rates. For throughput the slowest stage counts, for latency
    the sum of all. A stage fits a device if its weights, each once, and the largest working memory of its nodes do.

    First the best assignment for each number of stages: exactly, if the search is within the budget
    (see `stage_search` for the method and the bound on its cost), otherwise by the heuristic of
    `candidates`, which is never worse than the best uniform cut. "Exact" is among assignments whose stages are each held by
    devices of one kind; mixed stages come of spare devices and of replicas that no kind has enough devices for.

    Then the number of stages, if it is not given: for throughput the fewest whose period is within 10 % of the
    best that any number reaches, because every stage adds latency; for latency the best. Last, for
    throughput, of all cuts within 2 % of the best, one that sends the fewest bytes (see `thin_cuts`). Where the
    search was not exact, neither is taken so far that the best uniform cut would be faster.

    With `demand.share`, where stages and replicas are more than devices, each device counts as several slots of equal
    parts of its time and memory. The same arguments give the same plan.

    Args:
        costs: The graph.
        cluster: The devices and links.
        demand: What is asked.
        profile: Measured times of the same graph, or None.
        budget: Figures that the search may compare.

    Raises:
        InvalidPlan: The demand cannot be met; the message says which limit binds and by how much. Or the
            profile is of another graph (INVALID_ARGUMENT).
    """
    check_counts(costs, cluster, demand)
    wanted = (demand.num_stages or 1) * (demand.replicas or 1)
    slots = -(-wanted // cluster.num_devices) if demand.share else 1
    chain = Chain.of(costs, cluster, profile, slots)
    candidates = find_candidates(chain, demand, budget)
    if not candidates.best:
        raise InvalidPlan(explain_infeasibility(costs, cluster, chain, demand))
    latency = demand.objective is Objective.LATENCY
    if latency:
        chosen = min(candidates.best.values(), key=lambda one: objective_value(chain, one, latency=True))
    else:
        periods = {k: one.period(chain) for k, one in candidates.best.items()}
        # Where the best is known, being a little slower is a choice; where it is not, it must not be a mistake.
        known = [] if candidates.exact else candidates.uniform.values()
        uniform = min((one.period(chain) for one in known), default=None)
        best = min(periods.values())
        limit = best * (100 + _WORTHWHILE_PERCENT) // 100
        if uniform is not None:
            limit = min(limit, max(best, uniform))
        number = min(k for k, period in periods.items() if period <= limit)
        chosen = with_fewest_bytes(costs, chain, candidates.best[number], at_most=uniform)
    plan = build_plan(costs, cluster, chain, chosen, demand.objective)
    return replace(plan, why=_why(demand, candidates, chain, chosen, plan))


def uniform_plan(
    costs: GraphCosts, cluster: Cluster, num_stages: int, profile: Profile | None = None
) -> Plan:
    """Returns what cutting by equal numbers of nodes gives, on the best devices: a plan to compare with.

    Args:
        costs: The graph.
        cluster: The devices and links.
        num_stages: How many stages, of one device each.
        profile: Measured times of the same graph, or None.

    Raises:
        InvalidPlan: The graph has not so many parts, there are not so many devices, or a part does not fit
            (INVALID_ARGUMENT).
    """
    check_counts(costs, cluster, Demand(num_stages=num_stages))
    chain = Chain.of(costs, cluster, profile)
    found = uniform_assignment(chain, num_stages)
    if found is None:
        raise InvalidPlan(f"the uniform cut into {plural(num_stages, 'stage')} does not fit the devices")
    why = f"{plural(num_stages, 'stage')} of about equal numbers of nodes"
    return replace(build_plan(costs, cluster, chain, found, Objective.THROUGHPUT), why=why)


def _why(demand: Demand, candidates: PlanCandidates, chain: Chain, chosen: Assignment, plan: Plan) -> str:
    """Returns how the number of stages came about and what it costs."""
    number = chosen.num_stages
    count = plural(number, "stage")
    fewest = min(candidates.best)
    if demand.num_stages is not None:
        text = f"{count} as asked"
    else:
        text = f"{count} chosen: "
        if fewest > 1:
            text += f"{fewest} are needed to fit in memory, "
        if len(candidates.best) == 1:
            text += "no more are possible" if number > 1 else "one is all there can be"
        elif demand.objective is Objective.LATENCY:
            text += "no other number answers one request sooner"
        elif number == max(candidates.best):
            text += "no more are possible"
        else:
            text += f"more would take less than {_WORTHWHILE_PERCENT} % off the slowest"
    whole = plan.whole
    text += f"; predicted: {whole.compute_s * 1e3:.3g} ms whole on '{whole.kind}'"
    if not whole.fits:
        text += " (which it does not fit)"
    if number > 1:
        crossing = sum(stage.boundary_bytes for stage in plan.stages)
        text += f", {plan.period_s * 1e3:.3g} ms in the slowest stage with its sending"
        text += f"; {in_bytes(crossing)} cross"
    elif (replicas := plan.stages[0].num_replicas) > 1:
        text += f", a request every {plan.period_s * 1e3:.3g} ms from {replicas} replicas"
    return text if candidates.exact else text + "; found by the heuristic for large problems"
