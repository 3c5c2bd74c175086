"""Candidate plans by number of stages."""

from __future__ import annotations

from onnxmesh.model.plan import Demand, Objective
from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.plan_candidates import find_candidates, objective_value, optimise_cuts
from tests.fakes.planned_graphs import cluster, graph, kind

PS = 10**12


def test_candidates_have_the_best_assignment_for_each_number_of_stages():
    """60 s of equal nodes on three devices: 60, 30 and 20 s, exactly."""
    chain = Chain.of(graph([10] * 6), cluster(kind(count=3)))
    found = find_candidates(chain, Demand())
    assert found.exact
    periods = {k: one.period(chain) // PS for k, one in found.best.items()}
    assert periods == {1: 60, 2: 30, 3: 20}


def test_candidates_without_budget_are_heuristic_and_not_worse_than_uniform():
    """Two kinds and free replicas need the search; a budget of 0 affords none."""
    chain = Chain.of(graph([30, 10, 10, 10, 40, 20]), cluster(kind("a", 2), kind("b", 2, speed=2.0)))
    found = find_candidates(chain, Demand(replicas=None), budget=0)
    assert not found.exact
    assert all(found.best[k].period(chain) <= uniform.period(chain) for k, uniform in found.uniform.items())


def test_optimise_cuts_keeps_the_groups():
    """The cut of 10 and 50 s becomes one of 30 and 30 s."""
    chain = Chain.of(graph([10] * 6), cluster(kind(count=2)))
    assignment = Assignment((1,), (((0, 1),), ((0, 1),)))
    found = optimise_cuts(chain, assignment, latency=False)
    assert (found.cuts, found.groups) == ((3,), assignment.groups)


def test_objective_value_orders_by_the_objective_first():
    """Period, then latency; reversed for latency."""
    chain = Chain.of(graph([10] * 6), cluster(kind(count=2), bytes_per_s=1.0))
    one = Assignment((3,), (((0, 1),), ((0, 1),)))
    assert objective_value(chain, one, latency=False) == (31 * PS, 61 * PS)
    assert objective_value(chain, one, latency=True) == (61 * PS, 31 * PS)
    assert set(find_candidates(chain, Demand(Objective.LATENCY, num_stages=2)).best) == {2}
