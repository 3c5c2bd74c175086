"""Measured times: kept, joined, refused where they are of something else."""

from __future__ import annotations

import json

import pytest

from onnxmesh.errors import CorruptData, InvalidPlan, InvalidRequest
from onnxmesh.ids import Digest
from onnxmesh.model.cluster import DeviceKind
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.device_speed import PICOSECONDS, DeviceSpeed
from onnxmesh.model.graph_costs import Boundary, GraphCosts, NodeCost
from onnxmesh.model.node_times import node_times
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import DeviceTimes, Profile
from onnxmesh.model.signature import Signature

SPEED = DeviceSpeed(flops_per_s=1e9, bytes_per_s=1e9, node_overhead_s=0.0)
SHAPES = {"x": (1, 3)}


def profile(device="cpu", node_s=(0.5, 0.25), digest="a" * 64, **options) -> Profile:
    made = Profile(Digest(digest), OptimisationLevel.EXTENDED, SHAPES, {device: DeviceTimes(node_s, SPEED)})
    return Profile(**{name: options.get(name, getattr(made, name)) for name in made.__slots__})


def test_a_profile_is_read_as_it_was_written():
    """Every figure, and the mode."""
    made = profile(mode=CutMode.PORTABLE)
    assert Profile.from_json(made.to_json()) == made


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}'])
def test_other_texts_are_no_profiles(text):
    """Whatever JSON they may be."""
    with pytest.raises(CorruptData, match="not a profile"):
        Profile.from_json(text)


def test_a_profile_grows_by_devices():
    """A new device is added; of one that is there the newer times count."""
    grown = profile("cpu").merged(profile("cuda", (0.1, 0.1))).merged(profile("cpu", (0.4, 0.2)))
    assert set(grown.devices) == {"cpu", "cuda"}
    assert grown.devices["cpu"].node_s == (0.4, 0.2)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (profile(digest="b" * 64), f"it is of {'a' * 64}, this model is {'b' * 64}"),
        (profile(level=OptimisationLevel.ALL), "optimisation extended, wanted is all"),
        (profile(mode=CutMode.PORTABLE), "mode exact, wanted is portable"),
        (profile(shapes={"x": (8, 3)}), "at x 1x3, wanted is x 8x3"),
        (profile(shapes={"x": ()}), "at x 1x3, wanted is x scalar"),
    ],
)
def test_times_of_something_else_are_refused(other, words):
    """Another model, level, mode or shape; the message names both."""
    with pytest.raises(InvalidRequest, match=words):
        profile().merged(other)


def costs() -> GraphCosts:
    nodes = (NodeCost("a", "MatMul", 10**9, 0, ()), NodeCost("b", "Add", 0, 10**9, ()))
    return GraphCosts(nodes, (Boundary(4, 1),), (), (), Signature((), ()))


def test_times_of_the_kind_are_taken_at_their_word():
    """Found by the kind's profile name, or its own."""
    expected = [round(0.5 * PICOSECONDS), round(0.25 * PICOSECONDS)]
    assert node_times(costs(), DeviceKind("cpu"), profile()) == expected
    assert node_times(costs(), DeviceKind("box", profile="cpu"), profile()) == expected


def test_times_of_another_kind_are_scaled_node_by_node():
    """By what the two devices are estimated at: one computes twice as fast and moves as fast."""
    other = DeviceKind("other", speed=DeviceSpeed(2e9, 1e9, 0.0))
    assert node_times(costs(), other, profile()) == [
        round(0.25 * PICOSECONDS),
        round(0.25 * PICOSECONDS),
    ]


def test_without_a_profile_computing_and_moving_add_up():
    """One second each here, and the overhead of a node."""
    kind = DeviceKind("cpu", speed=DeviceSpeed(1e9, 1e9, 0.5))
    both = GraphCosts((NodeCost("a", "Add", 10**9, 10**9, ()),), (), (), (), Signature((), ()))
    assert node_times(both, kind) == [round(2.5 * PICOSECONDS)]


def test_a_profile_of_another_graph_is_refused():
    """It has another number of nodes."""
    with pytest.raises(InvalidPlan, match="times of 3 nodes, the graph has 2"):
        node_times(costs(), DeviceKind("cpu"), profile(node_s=(1.0, 1.0, 1.0)))


def test_speeds_travel_as_plain_values():
    """What is written is read."""
    assert DeviceSpeed.from_plain(json.loads(json.dumps(SPEED.to_plain()))) == SPEED
