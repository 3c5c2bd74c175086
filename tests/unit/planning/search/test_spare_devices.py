"""Spare devices, computed by hand."""

from __future__ import annotations

from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.spare_devices import assign_spare_devices
from tests.fakes.planned_graphs import cluster, graph, kind

PS = 10**12


def test_spare_devices_are_assigned_to_the_slowest_stage():
    """Stages of 10 and 30 s and two spare devices: three replicas make both 10 s."""
    chain = Chain.of(graph([10, 30]), cluster(kind(count=4)))
    found = assign_spare_devices(chain, Assignment((1,), (((0, 1),), ((0, 1),))), latency=False)
    assert found.groups == (((0, 1),), ((0, 3),))
    assert found.period(chain) == 10 * PS + 10**6


def test_spare_devices_that_do_not_fit_or_raise_the_latency_stay_unused():
    """The slow kind is too small for the second stage, and would raise the latency of the first."""
    costs = graph([10, 30], weights=[(0,), (1,)], weight_bytes=(5, 50))
    chain = Chain.of(costs, cluster(kind("fast", 2, speed=2.0), kind("slow", 2, memory=10)))
    assignment = Assignment((1,), (((0, 1),), ((0, 1),)))
    assert assign_spare_devices(chain, assignment, latency=True) == assignment
