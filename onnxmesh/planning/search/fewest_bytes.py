"""Of cuts that are nearly as fast as the best, those that send and copy the fewest bytes."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain, blocks_memory
from onnxmesh.planning.search.chain_problem import ChainProblem
from onnxmesh.planning.search.shared_weights import SharedWeights

_SLACK_PERCENT = 2
"""By how much the period may rise to save bytes."""
_AMORTISATION = 1000
"""Weight of a boundary byte over a byte of a copied weight: that is loaded once, a boundary is sent with each request."""
_SLACK_STEPS = 64
"""Resolution of the slack, in which the fastest of the cheapest cuts is found."""


def with_fewest_bytes(
    costs: GraphCosts, chain: Chain, assignment: Assignment, at_most: int | None
) -> Assignment:
    """Returns the assignment with the cuts of the fewest bytes within 2 % of its period, the fastest of those.

    A byte of a copied weight that several stages read counts a thousandth: tied weights stay in one stage where that
    costs nothing else.

    Args:
        costs: The graph.
        chain: Graph and cluster as a chain of blocks.
        assignment: The fastest known assignment.
        at_most: A period not to exceed if the assignment does not; None: unlimited.
    """
    if assignment.num_stages == 1:
        return assignment
    positions = [int(position) for position in chain.positions]
    shared = SharedWeights(blocks_memory(costs, positions)[0], costs.weights)
    problem = ChainProblem(chain.stages(assignment.groups))
    fastest = assignment.period(chain)
    slack = fastest * _SLACK_PERCENT // 100
    if at_most is not None:
        slack = min(slack, max(0, at_most - fastest))

    def cheapest(step: int) -> tuple[int, tuple[int, ...]]:
        found = problem.min_bytes(
            fastest + slack * step // _SLACK_STEPS, chain.crossing * _AMORTISATION, shared
        )
        if found is None:
            msg = f"no cuts within a period that was reached: {fastest} + {step} steps"
            raise RuntimeError(msg)
        return found

    low, high = 0, _SLACK_STEPS
    least, cuts = cheapest(high)
    while low < high:
        middle = (low + high) // 2
        cost, candidate = cheapest(middle)
        if cost <= least:
            high, cuts = middle, candidate
        else:
            low = middle + 1
    return replace(assignment, cuts=cuts)
