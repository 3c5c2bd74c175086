"""Of cuts that are about as fast, the one that sends and copies least."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain, blocks_memory
from onnxmesh.planning.search.chain_problem import ChainProblem
from onnxmesh.planning.search.shared_weights import SharedWeights

_SLACK_PERCENT = 2
"""How much slower than the best a cut may be to save bytes."""
_AMORTISATION = 1000
"""A byte of a copied weight is loaded once, a byte on a boundary is sent with every request."""
_STEPS = 64
"""To how fine a part of the slack the fastest of the thinnest cuts is found."""


def with_fewest_bytes(
    costs: GraphCosts, chain: Chain, assignment: Assignment, at_most: int | None
) -> Assignment:
    """Returns the assignment with the cheapest cuts within 2 % of its period, and the fastest of those.

    Cheap is what sends the fewest bytes, a copied byte of a weight that several stages read counted as a
    thousandth: tied weights stay together where that costs nothing else.

    Args:
        costs: The graph.
        chain: What it is in numbers.
        assignment: The fastest known.
        at_most: A period that must not be exceeded if the assignment keeps it; None: there is none.
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
        found = problem.min_bytes(fastest + slack * step // _STEPS, chain.crossing * _AMORTISATION, shared)
        if found is None:
            msg = f"a bound that was reached became unreachable: {fastest} + {step} steps"
            raise RuntimeError(msg)
        return found

    low, high = 0, _STEPS
    least, cuts = cheapest(high)
    while low < high:
        middle = (low + high) // 2
        cost, candidate = cheapest(middle)
        if cost <= least:
            high, cuts = middle, candidate
        else:
            low = middle + 1
    return replace(assignment, cuts=cuts)
