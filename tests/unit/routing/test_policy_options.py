"""What a caller may add to the policy: candidate filters, onward transfer times, and the best choice instead of a draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.explanation import explain_route
from onnxmesh.routing.network import GUESSES, LinkCost, MeasuredLink, Network
from onnxmesh.routing.policy import choose_replica
from onnxmesh.routing.policy_settings import DEFAULT_SETTINGS
from onnxmesh.routing.route_query import CandidateFilter, RouteQuery
from onnxmesh.routing.stage_board import Origin, StageBoard
from onnxmesh.routing.table.locality import Locality
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from onnxmesh.routing.table.worker_facts import WorkerFacts
from onnxmesh.routing.worker_board import WorkerBoard


class Undrawn:
    def random(self):
        raise AssertionError("nothing is to be drawn")


def board(*facts):
    replicas = tuple(
        Replica(WorkerId(f"w{index}"), f"w{index}:1", 1, WorkerFacts((), each))
        for index, each in enumerate(facts)
    )
    workers = WorkerBoard()
    return StageBoard(RoutedStage(StageKey("m/1/0"), replicas), workers, DEFAULT_SETTINGS, now_s=0.0), workers


def choose(stage, workers, query, now_s):
    return choose_replica(
        stage,
        workers,
        Network(),
        origin=Origin(),
        query=query,
        settings=DEFAULT_SETTINGS,
        rng=Undrawn(),
        now_s=now_s,
    )


def chosen(stage, workers, **query):
    return choose(stage, workers, RouteQuery(**query, randomised=False), 0.0)


def test_policy_without_randomisation_picks_the_first_of_the_best():
    """A zone counts only by the links to it."""
    stage, workers = board({}, {}, {})
    assert chosen(stage, workers).index == 0
    workers.set_expected(stage.slots, np.array([0.003, 0.001, 0.002]), 0.0)
    found = chosen(stage, workers)
    assert (found.index, explain_route(found, workers, 0.0).outcome) == (1, "'w1': the best")


def test_candidate_filter_excludes_with_its_reason():
    """Under its own name."""
    stage, workers = board({}, {})
    found = chosen(
        stage, workers, filters=(CandidateFilter("memory", "too little memory", np.array([True, False])),)
    )
    assert found.index == 1
    first, second = explain_route(found, workers, 0.0).verdicts
    assert (first.rule, first.why, second.rule) == ("memory", "too little memory", "")


def test_candidate_filter_may_exclude_all():
    """As when all workers are dead."""
    stage, workers = board({}, {})
    assert chosen(stage, workers, filters=(CandidateFilter("all", "", np.array([True, True])),)).index is None


def test_onward_s_counts_as_transfer():
    """A verdict includes it in the transfer time."""
    stage, workers = board({}, {})
    found = chosen(stage, workers, onward_s=np.array([0.5, 0.1]))
    assert found.index == 1
    verdicts = explain_route(found, workers, 0.0).verdicts
    assert verdicts[0].transfer_s - verdicts[1].transfer_s == pytest.approx(0.4)


def test_set_expected_is_used_for_scores():
    """Before the first measurement."""
    stage, workers = board({}, {})
    stage.set_expected(np.array([0.2, 0.1]))
    workers.set_expected(stage.slots, np.array([0.0, 0.05]), 7.0)
    found = choose(stage, workers, RouteQuery(randomised=False), 7.0)
    assert found.scores.ready_s.tolist() == pytest.approx([0.2, 0.15])
    assert found.index == 1


PLACES = st.builds(
    Locality,
    st.sampled_from(["", "r", "s"]),
    st.sampled_from(["", "x", "y"]),
    st.sampled_from(["", "h", "i"]),
)


@given(PLACES, st.lists(PLACES, min_size=1, max_size=8), st.booleans())
def test_board_view_agrees_with_the_network(origin, places, measured):
    """For all replicas at once, as for each alone; what was measured counts for more."""
    names = ("region", "zone", "host")
    stage, _ = board(*({name: value for name in names if (value := getattr(each, name))} for each in places))
    network = Network()
    if measured:
        network.observe("g", "w0", MeasuredLink(0.3, 1e6))
    view = stage.view(Origin("g", origin), network)
    costs = [GUESSES[origin.nearness(each)] for each in places]
    if measured:
        costs[0] = LinkCost(0.3, 1e6)
    assert view.half_trip_s.tolist() == pytest.approx([cost.round_trip_s / 2 for cost in costs])
    assert view.s_per_byte.tolist() == pytest.approx([1 / cost.bytes_per_s for cost in costs])
    nearness = [max(1, origin.nearness(each)) for each in places]
    assert view.tiers.tolist() == [sorted(set(nearness)).index(each) for each in nearness]
