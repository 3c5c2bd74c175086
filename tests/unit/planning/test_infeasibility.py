"""Explanations of demands that cannot be met."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxmesh.errors import InvalidPlan
from onnxmesh.ids import Digest
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.graph_costs import Boundary
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.plan import Demand
from onnxmesh.model.profile import DeviceTimes, Profile
from onnxmesh.planning.planner import make_plan, uniform_plan
from tests.fakes.planned_graphs import cluster, graph, kind

GB = 10**9


def refusal(costs, devices, demand=None, profile=None):
    with pytest.raises(InvalidPlan) as caught:
        make_plan(costs, devices, demand or Demand(), profile)
    return str(caught.value)


def heavy(*gigabytes):
    """Nodes with a weight each."""
    count = len(gigabytes)
    return graph(
        [1] * count,
        weights=[(i,) for i in range(count)],
        weight_bytes=tuple(round(size * GB) for size in gigabytes),
    )


def test_check_counts_names_the_largest_number_of_stages():
    """The message has both figures."""
    two = cluster(kind(count=9))
    assert (
        refusal(graph([1] * 4, illegal={2}), two, Demand(num_stages=5))
        == "model can be cut into at most 3 stages, got 5"
    )
    assert refusal(graph([1]), two, Demand(num_stages=2)) == "model can be cut into at most 1 stage, got 2"


@pytest.mark.parametrize("number", [0, -1])
def test_check_counts_refuses_numbers_below_one(number):
    """Zero and less are refused."""
    assert f"stages: expected at least 1, got {number}" in refusal(
        graph([1, 1]), cluster(kind()), Demand(num_stages=number)
    )
    assert f"replicas: expected at least 1, got {number}" in refusal(
        graph([1, 1]), cluster(kind()), Demand(replicas=number)
    )


def test_check_counts_names_the_number_of_missing_devices():
    """Stages times replicas; with sharing, only the replicas of one stage need devices of their own."""
    costs, three = graph([1] * 4), cluster(kind(count=3))
    assert (
        refusal(costs, three, Demand(num_stages=2, replicas=2))
        == "2 stages in 2 replicas need 4 devices; there are 3: 1 more needed"
    )
    assert (
        refusal(costs, cluster(kind()), Demand(num_stages=4))
        == "4 stages need 4 devices; there is 1: 3 more needed"
    )
    assert (
        refusal(costs, three, Demand(replicas=5))
        == "each stage in 5 replicas needs 5 devices; there are 3: 2 more needed"
    )
    assert make_plan(costs, three, Demand(num_stages=2, replicas=2, share=True)).cuts == (2,)
    assert "each stage in 4 replicas needs 4 devices" in refusal(
        costs, three, Demand(num_stages=2, replicas=4, share=True)
    )


def test_explanation_names_a_stage_that_fits_no_device():
    """With its size, the largest device, and where it is."""
    boxes = cluster(kind("edge", memory=8 * GB), kind("phone", memory=2 * GB))
    assert refusal(heavy(1, 9.1, 1), boxes) == (
        "stage of 9.10 GB fits no device; the largest ('edge') has 8.00 GB: node 1, 'n1', cannot be cut further"
    )
    whole = replace(heavy(5, 5), boundaries=(Boundary(1, 1, "a sequence"),))
    assert refusal(whole, boxes).endswith("nodes 0 to 1, from 'n0' on, cannot be cut further")


def test_explanation_counts_memory_of_each_device_alone():
    """One stage for each device was requested, and even the smaller part is too big for the small device."""
    devices = cluster(kind("edge", memory=2 * GB), kind("server"))
    message = refusal(heavy(3, 3), devices, Demand(num_stages=2))
    assert "do not fit 2 devices;" in message
    assert message.endswith("1 more device of kind 'server' would suffice")


def test_explanation_names_the_number_of_devices_that_would_suffice():
    """Twenty gigabytes need five devices of four; there are three."""
    boxes = cluster(kind("edge", count=3, memory=4 * GB))
    message = refusal(heavy(*[4] * 5), boxes)
    assert "20.0 GB of weights" in message
    assert "3 devices with 12.0 GB together" in message
    assert message.endswith("2 more devices of kind 'edge' would suffice")


def test_explanation_names_the_number_of_replicas():
    """Two devices hold the model once, four hold it twice."""
    boxes = cluster(kind("edge", count=2, memory=4 * GB))
    message = refusal(heavy(3, 3), boxes, Demand(replicas=2))
    assert message.startswith("the model in 2 replicas with 6.00 GB of weights")
    assert message.endswith("2 more devices of kind 'edge' would suffice")


def test_explanation_names_the_kind_with_the_fewest_additional_devices():
    """One large device rather than several small ones."""
    boxes = cluster(kind("edge", memory=4 * GB), kind("server", memory=12 * GB))
    assert refusal(heavy(*[4] * 6), boxes).endswith("1 more device of kind 'server' would suffice")


def test_explanation_names_a_number_of_stages_that_would_fit():
    """Two stages are requested where three would fit."""
    boxes = cluster(kind("edge", count=4, memory=4 * GB))
    message = refusal(heavy(3, 3, 3), boxes, Demand(num_stages=2))
    assert message.startswith("2 stages with 9.00 GB of weights")
    assert message.endswith("do not fit 4 devices with 16.0 GB together; 3 stages would fit")


def test_explanation_counts_the_part_of_a_shared_device():
    """Two stages on one device of 8 GB have 4 GB each."""
    message = refusal(heavy(5, 5), cluster(kind("edge", memory=8 * GB)), Demand(num_stages=2, share=True))
    assert message.startswith("stage of 5.00 GB fits no device; the largest ('edge') has 4.00 GB")
    assert "each device holds 2 stages" in message


def test_explanation_counts_working_memory():
    """Weights fit, the scratch of one node does not."""
    costs = graph([1, 1], weights=[(0,), ()], weight_bytes=(GB,), working=[0, 9 * GB])
    assert "stage of 9.00 GB fits no device" in refusal(costs, cluster(kind(memory=8 * GB)))


def test_make_plan_refuses_a_profile_of_another_graph():
    """Both numbers of nodes are in the message."""
    other = Profile(
        Digest("0" * 64),
        OptimisationLevel.ALL,
        {},
        {"box": DeviceTimes((1.0, 2.0, 3.0), DeviceSpeed())},
    )
    message = refusal(graph([1, 1]), cluster(kind()), profile=other)
    assert "3 nodes" in message
    assert "2" in message


def test_uniform_plan_refuses_a_cut_that_does_not_fit():
    """Nine of ten gigabytes are in the first half."""
    costs = heavy(3, 6, 0.5, 0.5)
    with pytest.raises(InvalidPlan, match="uniform cut into 2 stages does not fit"):
        uniform_plan(costs, cluster(kind(count=2, memory=8 * GB)), 2)
    assert make_plan(costs, cluster(kind(count=2, memory=8 * GB)), Demand(num_stages=2)).cuts == (1,)
