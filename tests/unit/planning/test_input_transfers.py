"""Transfers of inputs: carried or direct, whichever is cheaper."""

from __future__ import annotations

import pytest

from onnxmesh.model.graph_costs import InputUse
from onnxmesh.model.plan import Demand
from onnxmesh.planning.planner import make_plan
from tests.fakes.planned_graphs import cluster, graph, kind

FOUR = Demand(num_stages=4)


def plan_with(use, latency_s=1.0, bytes_per_s=1.0, nodes=4):
    """Four stages of one node each, links of one byte a second."""
    return make_plan(
        graph([1000] * nodes, inputs=(use,)),
        cluster(kind(count=4), bytes_per_s=bytes_per_s, latency_s=latency_s),
        FOUR,
    )


def direct(plan):
    return [stage.direct_inputs for stage in plan.stages]


def boundaries(plan):
    return [stage.boundary_bytes for stage in plan.stages]


def test_transfers_of_a_large_input_of_a_late_stage_are_direct():
    """Carried over four hops 100 bytes take 400 s; directly 100 s and one message's latency."""
    plan = plan_with(InputUse("mask", 100, (3,)))
    assert direct(plan) == [(), (), (), ("mask",)]
    assert boundaries(plan) == [1, 1, 1, 0]


def test_transfers_of_a_small_input_are_carried():
    """Carried over four hops 10 bytes take 40 s; a message alone takes 50 s."""
    plan = plan_with(InputUse("mask", 10, (3,)), latency_s=50.0)
    assert direct(plan) == [()] * 4
    assert boundaries(plan) == [11, 11, 11, 0]


def test_transfers_of_equal_cost_are_carried():
    """Four hops of 10 bytes are 40 s; so are 10 bytes and a message of 30 s."""
    assert direct(plan_with(InputUse("mask", 10, (3,)), latency_s=30.0)) == [()] * 4
    assert direct(plan_with(InputUse("mask", 10, (3,)), latency_s=29.0)) == [(), (), (), ("mask",)]


def test_transfers_to_every_stage_are_carried():
    """Sent directly it would take as many transfers, and messages besides."""
    plan = plan_with(InputUse("mask", 100, (0, 1, 2, 3)))
    assert direct(plan) == [()] * 4
    assert boundaries(plan) == [101, 101, 101, 0]


def test_transfers_end_at_the_last_reader():
    """And the first stage, which the gateway sends to anyway, has it from there."""
    plan = plan_with(InputUse("mask", 100, (0, 1)))
    assert direct(plan) == [()] * 4
    assert boundaries(plan) == [101, 1, 1, 0]
    assert direct(plan_with(InputUse("image", 10**6, (0,)))) == [()] * 4


def test_transfers_are_direct_to_reading_stages_only():
    """First and last stage read: two transfers instead of four."""
    plan = plan_with(InputUse("mask", 100, (0, 3)))
    assert direct(plan) == [(), (), (), ("mask",)]
    assert boundaries(plan) == [1, 1, 1, 0]


def test_transfers_of_an_input_that_is_an_output_reach_the_last_stage():
    """Its reader is past the last node: the last stage answers it."""
    assert direct(plan_with(InputUse("x", 100, (4,)))) == [(), (), (), ("x",)]
    assert boundaries(plan_with(InputUse("x", 10, (4,)), latency_s=50.0)) == [11, 11, 11, 0]


@pytest.mark.parametrize("readers", [(), (0,)])
def test_transfers_of_an_input_of_stage_0_cross_no_cut(readers):
    """Whatever its size."""
    plan = plan_with(InputUse("x", 10**6, readers))
    assert direct(plan) == [()] * 4
    assert boundaries(plan) == [1, 1, 1, 0]


def test_transfers_to_a_single_stage_are_not_direct():
    """The gateway sends everything to it."""
    costs = graph([1, 1], inputs=(InputUse("x", 100, (0, 1, 2)),))
    (stage,) = make_plan(costs, cluster(kind()), Demand(num_stages=1)).stages
    assert (stage.direct_inputs, stage.boundary_bytes) == ((), 0)


def test_carried_inputs_count_in_the_choice_of_the_cut():
    """A small input that crosses the left cut but not the right one moves the cut to the right."""
    use = InputUse("mask", 40, (0, 1))
    costs = graph([100, 1, 100], [1, 1], inputs=(use,))
    devices = cluster(kind(count=2), bytes_per_s=1.0, latency_s=50.0)
    assert make_plan(costs, devices, Demand(num_stages=2)).cuts == (2,)
    assert make_plan(graph([100, 1, 100], [1, 1]), devices, Demand(num_stages=2)).cuts == (1,)
