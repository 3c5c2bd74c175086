"""Cuts beside which stages can run requests together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxmesh.model.plan import Demand, Objective
from onnxmesh.planning.batchable_cuts import with_batchable_cuts
from onnxmesh.planning.planner import make_plan
from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain
from tests.fakes.planned_graphs import cluster, graph, kind

TWO = (((0, 1),), ((0, 1),))


def cuts(costs, assignment, *, latency=False):
    """Returns the cuts as positions in the topological order."""
    chain, found = with_batchable_cuts(
        costs, Chain.of(costs, cluster(kind(count=4))), assignment, latency=latency
    )
    return [int(chain.positions[cut]) for cut in found.cuts]


@pytest.mark.parametrize(("flops", "expected"), [([50, 5, 50], [1]), ([40, 20, 55], [2])])
def test_cut_moves_to_a_boundary_with_rows_within_ten_percent(flops, expected):
    """The cut at 2 mixes rows; that at 1 is 2 or 27 % slower."""
    costs = graph([*flops, 1], without_rows={2, 3})
    assert cuts(costs, Assignment((2,), TWO)) == expected


def test_cut_that_keeps_rows_stays():
    """Even where another one is faster: the search has decided. What follows moves it among those that keep rows alone."""
    costs = graph([10] * 4, without_rows={2})
    assert cuts(costs, Assignment((1,), TWO)) == [1]
    assert cuts(costs, Assignment((3,), TWO)) == [3]
    assert cuts(costs, Assignment((), (((0, 1),),))) == []
    chain, found = with_batchable_cuts(
        costs, Chain.of(costs, cluster(kind(count=4))), Assignment((3,), TWO), latency=False
    )
    assert (chain.positions.tolist(), found.cuts) == ([0, 1, 3, 4], (2,))


@pytest.mark.parametrize("latency", [False, True])
def test_cuts_stay_where_too_few_boundaries_keep_rows(latency):
    """Three stages need two."""
    costs = graph([10] * 4, without_rows={1, 3})
    best = Assignment((1, 2), (((0, 1),),) * 3)
    assert cuts(costs, best, latency=latency) == [1, 2]


@pytest.mark.parametrize("objective", list(Objective))
def test_plan_prefers_boundaries_with_rows(objective):
    """Of 40 equal nodes every second boundary keeps rows: neither period nor latency is far from the best."""
    every = graph([10] * 41)
    costs = replace(every, boundaries=graph([10] * 41, without_rows=set(range(1, 41, 2))).boundaries)
    for number in (2, 3, 4):
        demand = Demand(objective, num_stages=number)
        plan = make_plan(costs, cluster(kind(count=4)), demand)
        best = make_plan(every, cluster(kind(count=4)), demand)
        assert all(cut % 2 == 0 for cut in plan.cuts)
        assert plan.period_s <= best.period_s * 1.1
        assert plan.latency_s <= best.latency_s * 1.1


def test_plan_without_batches_has_no_preference():
    """Its cut is the best one."""
    costs = graph([50, 5, 50, 1], without_rows={2, 3})
    for batches, expected in ((True, (1,)), (False, (2,))):
        demand = Demand(num_stages=2, batches=batches)
        assert make_plan(costs, cluster(kind(count=2)), demand).cuts == expected


def test_stage_still_fits_its_device():
    """A cut that keeps rows and needs more memory than there is is none."""
    costs = graph([10, 1, 10], weights=[(0,), (1,), (2,)], weight_bytes=(10, 10, 10), without_rows={2})
    chain = Chain.of(costs, cluster(kind("large", memory=20), kind("small", memory=10)))
    best = Assignment((2,), (((0, 1),), ((1, 1),)))
    assert with_batchable_cuts(costs, chain, best, latency=False) == (chain, best)
