"""Of cuts that are nearly as fast as the best, those beside which stages can run requests together."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.plan_candidates import objective_value, optimise_cuts

_SLACK_PERCENT = 10
"""By how much the objective may rise for batches. Less than what they save wherever requests are small or many."""


def with_batchable_cuts(
    costs: GraphCosts, chain: Chain, assignment: Assignment, *, latency: bool
) -> tuple[Chain, Assignment]:
    """Returns an assignment whose boundaries all keep rows apart, where one is at most 10 % worse.

    Only the cuts move, over the positions that keep rows apart: the same device groups, optimal cuts for them.

    Args:
        costs: The graph.
        chain: Graph and cluster as a chain of blocks.
        assignment: The best known assignment.
        latency: Whether the objective is latency.

    Returns:
        The chain of the positions that keep rows apart, and cuts among them; or what was given.
    """
    inner = chain.positions[1:-1]
    keeps = [index for index, position in enumerate(inner, 1) if costs.boundaries[position - 1].keeps_rows]
    if len(keeps) < assignment.num_stages - 1 or len(keeps) == len(inner):
        return chain, assignment
    kept = chain.restricted_to([0, *keeps, chain.num_blocks])
    if set(assignment.cuts) <= set(keeps):
        return kept, replace(assignment, cuts=tuple(1 + keeps.index(cut) for cut in assignment.cuts))
    found = [optimise_cuts(kept, replace(assignment, cuts=()), latency=each) for each in {latency, False}]
    best = objective_value(chain, assignment, latency=latency)
    # Cuts of equal latency may have any period: a plan for latency keeps both.
    bounds = [value * (100 + _SLACK_PERCENT) // 100 for value in (best if latency else best[:1])]
    reached = [(objective_value(kept, one, latency=latency), one) for one in found if one.cuts]
    within = [
        (values, one)
        for values, one in reached
        if all(value <= bound for value, bound in zip(values, bounds, strict=False))
    ]
    return (kept, min(within, key=lambda each: each[0])[1]) if within else (chain, assignment)
