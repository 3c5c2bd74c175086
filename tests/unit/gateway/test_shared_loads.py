"""Gateways know of each other what workers say of their load."""

from __future__ import annotations

from onnxmesh.live.base import Figure, Topic
from onnxmesh.live.embedded import OwnLiveState
from onnxmesh.v1.frame_pb2 import Load
from services.gateway.sharing.shared_loads import SharedLoads


class Heard:
    """Live state in which other gateways have said something."""

    def __init__(self, *figures):
        self._figures = {figure.key: (figure,) for figure in figures}

    def figures(self, topic):
        assert topic is Topic.LOAD
        return self._figures


def test_what_a_worker_says_reaches_the_others_as_it_was_said():
    own = OwnLiveState("g1")
    said = Load(queued=3, running=1, in_flight_bytes=2**40, completed=7)
    SharedLoads("g1", own, print).said("w", said)
    (figure,) = own.figures(Topic.LOAD)["w"]
    heard = []
    shared = Heard(Figure("g1", "w", 0.1, figure.values))
    SharedLoads("g2", shared, lambda worker, load: heard.append((worker, load))).listen()
    assert heard == [("w", said)]


def test_what_this_gateway_knows_best_it_does_not_hear_from_itself():
    heard = []
    own = OwnLiveState("g1")
    loads = SharedLoads("g1", own, lambda *news: heard.append(news))
    loads.said("w", Load(queued=3))
    loads.listen()
    assert heard == []


def test_figures_of_a_later_release_are_passed_over():
    heard = []
    shared = Heard(Figure("g1", "w", 0.0, {"queued": 2.0, "unheard_of": 5, "stages": 1.0}))
    SharedLoads("g2", shared, lambda worker, load: heard.append(load)).listen()
    assert heard == [Load(queued=2)]
