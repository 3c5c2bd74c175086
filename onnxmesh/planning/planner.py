"""The planner: where to cut a graph, and which devices hold each stage."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.errors import InvalidPlan
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.plan import Demand, Objective, Plan
from onnxmesh.model.profile import Profile
from onnxmesh.planning.batchable_cuts import with_batchable_cuts
from onnxmesh.planning.infeasibility import check_counts, explain_infeasibility
from onnxmesh.planning.plan_builder import build_plan
from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.fewest_bytes import with_fewest_bytes
from onnxmesh.planning.search.plan_candidates import PlanCandidates, find_candidates, objective_value
from onnxmesh.planning.search.search_space import SEARCH_BUDGET
from onnxmesh.planning.search.uniform import uniform_assignment
from onnxmesh.quantities import bytes_text, count_text, time_text

_MIN_GAIN_PERCENT = 10
"""Smallest gain that justifies more stages: each adds a message and queueing to every request."""


def make_plan(
    costs: GraphCosts,
    cluster: Cluster,
    demand: Demand,
    profile: Profile | None = None,
    *,
    budget: int = SEARCH_BUDGET,
) -> Plan:
    """Cuts a graph into stages and assigns devices to them, for the objective of the demand.

    A device is busy with a request while it runs its stage and while it sends the boundary after it; the rates of the
    replicas of a stage add up. The objective throughput minimises the period of the slowest stage, latency the sum of
    all. A stage fits a device if its weights, each once, plus the largest working memory of its nodes do.

    1. The best assignment for each number of stages: exact if the search is within the budget (see `stage_search` for
       the method and its cost), otherwise by the heuristic of `candidates`, which is never worse than the best
       uniform cut. "Exact" is among assignments whose stages each have devices of one kind; mixed stages result from
       spare devices and from replicas that no kind has enough devices for.
    2. The number of stages, if it is not given: for throughput the fewest whose period is within 10 % of the best for
       any number, because every stage adds latency; for latency the best.
    3. Where the demand is for batches, cuts whose stages can run requests together, if they are at most 10 % worse (see
       `batchable_cuts`).
    4. For throughput, of all cuts within 2 % of the best, one that sends the fewest bytes (see `fewest_bytes`).
       Where the search was not exact, steps 2 and 4 keep the period below that of the best uniform cut.

    With `demand.share`, where there are more stages and replicas than devices, each device is divided into slots with
    equal parts of its time and memory. The result is deterministic.

    Args:
        costs: The graph.
        cluster: The devices and links.
        demand: Objective, stages and replicas.
        profile: Measured times of the same graph, or None.
        budget: Number of values that the search may compare.

    Raises:
        InvalidPlan: The demand cannot be met; the message names the limit and by how much it is exceeded. Or the
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
        if demand.batches:
            chain, chosen = with_batchable_cuts(costs, chain, chosen, latency=True)
    else:
        periods = {k: one.period(chain) for k, one in candidates.best.items()}
        # An exact search may trade a little period for fewer stages; a heuristic one must not be slower than uniform.
        known = [] if candidates.exact else candidates.uniform.values()
        uniform = min((one.period(chain) for one in known), default=None)
        best = min(periods.values())
        limit = best * (100 + _MIN_GAIN_PERCENT) // 100
        if uniform is not None:
            limit = min(limit, max(best, uniform))
        number = min(k for k, period in periods.items() if period <= limit)
        chosen = candidates.best[number]
        if demand.batches:
            chain, chosen = with_batchable_cuts(costs, chain, chosen, latency=False)
        chosen = with_fewest_bytes(costs, chain, chosen, at_most=uniform)
    plan = build_plan(costs, cluster, chain, chosen, demand.objective)
    return replace(plan, why=_why(demand, candidates, chain, chosen, plan))


def uniform_plan(
    costs: GraphCosts, cluster: Cluster, num_stages: int, profile: Profile | None = None
) -> Plan:
    """Returns the plan of a uniform cut, with equal numbers of nodes, on the fastest devices: a baseline.

    Args:
        costs: The graph.
        cluster: The devices and links.
        num_stages: Number of stages, of one device each.
        profile: Measured times of the same graph, or None.

    Raises:
        InvalidPlan: The graph cannot be cut into that many stages, devices are missing, or a stage does not
            fit (INVALID_ARGUMENT).
    """
    check_counts(costs, cluster, Demand(num_stages=num_stages))
    chain = Chain.of(costs, cluster, profile)
    found = uniform_assignment(chain, num_stages)
    if found is None:
        raise InvalidPlan(f"the uniform cut into {count_text(num_stages, 'stage')} does not fit the devices")
    why = f"{count_text(num_stages, 'stage')} with nearly equal numbers of nodes"
    return replace(build_plan(costs, cluster, chain, found, Objective.THROUGHPUT), why=why)


def _why(demand: Demand, candidates: PlanCandidates, chain: Chain, chosen: Assignment, plan: Plan) -> str:
    """Returns the reason for the number of stages, with the predicted times."""
    number = chosen.num_stages
    count = count_text(number, "stage")
    fewest = min(candidates.best)
    if demand.num_stages is not None:
        text = f"{count} as requested"
    else:
        text = f"{count} chosen: "
        if fewest > 1:
            text += f"at least {fewest} to fit in memory, "
        if len(candidates.best) == 1:
            text += "no other number is possible"
        elif demand.objective is Objective.LATENCY:
            text += "no other number has a lower latency"
        elif number == max(candidates.best):
            text += "more are not possible"
        else:
            text += f"more would shorten the period by less than {_MIN_GAIN_PERCENT} %"
    whole = plan.whole
    text += f"; predicted: {time_text(whole.compute_s)} for the whole model on '{whole.kind}'"
    if not whole.fits:
        text += " (which it does not fit)"
    if number > 1:
        crossing = sum(stage.boundary_bytes for stage in plan.stages)
        text += f", {time_text(plan.period_s)} for the slowest stage and its transfer"
        text += f", {bytes_text(crossing)} across all cuts"
    elif (replicas := plan.stages[0].num_replicas) > 1:
        text += f", a request every {time_text(plan.period_s)} on {replicas} replicas"
    return text if candidates.exact else text + "; found by the heuristic for large problems"
