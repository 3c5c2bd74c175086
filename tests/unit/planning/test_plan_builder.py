"""Plans of assignments, computed by hand."""

from __future__ import annotations

import pytest

from onnxmesh.model.plan import Objective
from onnxmesh.planning.plan_builder import build_plan, estimate_whole_model
from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain
from tests.fakes.planned_graphs import cluster, graph, kind


def test_build_plan_predicts_times_and_memory_of_stages():
    """Two stages of 30 and 40 s; a boundary of 10 bytes at 1 byte a second; the second on two devices."""
    costs = graph([10, 20, 40], [5, 10], weights=[(0,), (0,), (1,)], weight_bytes=(7, 9), working=[1, 2, 3])
    devices = cluster(kind("a"), kind("b", 2), bytes_per_s=1.0)
    chain = Chain.of(costs, devices)
    plan = build_plan(costs, devices, chain, Assignment((2,), (((0, 1),), ((1, 2),))), Objective.THROUGHPUT)
    first, second = plan.stages
    assert (first.start, first.end, first.devices) == (0, 2, (("a", 1),))
    assert (first.compute_s, first.transfer_s, first.period_s) == (30.0, 10.0, 40.0)
    assert (first.boundary_bytes, first.weight_bytes, first.peak_bytes) == (10, 7, 9)
    assert (second.compute_s, second.transfer_s, second.period_s) == (40.0, 0.0, 20.0)
    assert plan.why == ""


def test_build_plan_adds_the_rates_of_mixed_devices():
    """Devices of 60 and 30 s together take a request every 20 s; the run itself takes 60 s on the slower."""
    costs = graph([60])
    devices = cluster(kind("a"), kind("b", speed=2.0))
    chain = Chain.of(costs, devices)
    (stage,) = build_plan(
        costs, devices, chain, Assignment((), (((0, 1), (1, 1)),)), Objective.THROUGHPUT
    ).stages
    assert stage.period_s == pytest.approx(20.0)
    assert stage.compute_s == 60.0


def test_whole_model_is_estimated_on_the_fastest_device_that_it_fits():
    """The faster kind is too small."""
    costs = graph([60], weights=[(0,)], weight_bytes=(50,))
    devices = cluster(kind("small", speed=3.0, memory=10), kind("large", memory=100))
    whole = estimate_whole_model(costs, devices, Chain.of(costs, devices))
    assert (whole.kind, whole.compute_s, whole.peak_bytes, whole.fits) == ("large", 60.0, 50, True)


def test_build_plan_doubles_the_period_of_devices_with_two_slots():
    """Each of two stages has half of a device; one run takes as long as before."""
    costs = graph([30, 30])
    devices = cluster(kind())
    chain = Chain.of(costs, devices, slots=2)
    plan = build_plan(costs, devices, chain, Assignment((1,), (((0, 1),), ((0, 1),))), Objective.THROUGHPUT)
    assert [(stage.compute_s, stage.period_s) for stage in plan.stages] == [
        (30.0, pytest.approx(60.0, rel=1e-6)),
        (30.0, 60.0),
    ]
