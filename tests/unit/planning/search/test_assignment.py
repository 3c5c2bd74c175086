"""Assignments, computed by hand."""

from __future__ import annotations

from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain
from tests.fakes.planned_graphs import cluster, graph, kind

PS = 10**12


def test_assignment_has_the_period_of_its_slowest_stage_and_the_sum_of_delays():
    """30 s and 10 s of transfer on one device, 40 s on two."""
    chain = Chain.of(graph([10, 20, 40], [5, 10]), cluster(kind("a"), kind("b", 3), bytes_per_s=1.0))
    assignment = Assignment((2,), (((0, 1),), ((1, 2),)))
    assert assignment.ranges(chain) == [(0, 2), (2, 3)]
    assert assignment.periods(chain) == [40 * PS, 20 * PS]
    assert assignment.period(chain) == 40 * PS
    assert assignment.latency(chain) == 80 * PS
    assert assignment.spare(chain.counts) == [0, 1]


def test_assignment_fits_if_every_stage_fits_every_kind_of_its_group():
    """Weights of 10 each: two fit the small kind, three do not."""
    costs = graph([1, 1, 1], weights=[(0,), (1,), (2,)], weight_bytes=(10, 10, 10))
    chain = Chain.of(costs, cluster(kind("small", 2, memory=20), kind("large", 1, memory=30)))
    assert Assignment((2,), (((0, 1),), ((0, 1),))).fits(chain)
    assert Assignment((), (((1, 1),),)).fits(chain)
    assert not Assignment((), (((0, 1), (1, 1)),)).fits(chain)
