"""A stage's board estimates compute times and survives changes of the replicas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnxmesh.routing.network import GUESSES
from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.policy_settings import PolicySettings
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.selectors.preference import MAX_WEIGHT, parse_preference
from onnxmesh.routing.selectors.selector_text import parse_selector
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.locality import Locality, Nearness
from tests.unit.routing.policy_bench import HOME, Bench, in_zone


def test_observe_compute_sets_the_estimate_of_unmeasured_replicas_of_the_kind():
    bench = Bench(in_zone("a", "b"))
    bench.board.observe_compute(0, 0.05)
    assert bench.board.compute_s.tolist() == pytest.approx([0.05, 0.05])
    assert bench.board.per_s.tolist() == pytest.approx([20.0, 20.0])
    assert bench.board.typical_s == pytest.approx(0.05)


def test_per_s_is_the_inverse_of_the_nominal_time_before_the_first_measurement():
    board = Bench(in_zone("a", "b"), PolicySettings(nominal_s=0.004)).board
    assert board.compute_s.tolist() == [0.004, 0.004]
    assert board.per_s.tolist() == pytest.approx([250.0, 250.0])


def test_observe_compute_weighs_the_first_measurements_equally():
    """Up to the number at which the moving average forgets, it is the mean."""
    board = Bench(in_zone("a"), PolicySettings(alike=0.0)).board
    for compute_s in (0.01, 0.03, 0.05, 0.03):
        board.observe_compute(0, compute_s)
    assert board.compute_s.tolist() == pytest.approx([0.03])


def test_set_expected_sets_the_typical_time_to_the_median():
    board = Bench(in_zone("a", "b", "c")).board
    board.set_expected(np.array([0.1, 0.9, 0.2]))
    assert board.typical_s == 0.2
    assert board.per_s.tolist() == pytest.approx([10.0, 1 / 0.9, 5.0])


def test_selected_of_a_stage_without_replicas_is_an_empty_mask():
    """A request with a selector then finds no route, as any other does."""
    bench = Bench({})
    gpu = parse_selector("gpu")
    assert bench.board.selected(gpu).dtype == np.bool_
    assert isinstance(bench.route(RouteQuery(require=gpu)), NoRoute)


def test_stage_board_keeps_the_figures_of_replicas_that_stay():
    """A replica that was restarted is new; one that stays keeps its ejection."""
    bench = Bench(in_zone("a", "b", "c"))
    bench.measure({"a": 0.05, "b": 0.5, "c": 0.05})
    for _ in range(bench.balancer.settings.max_errors):
        bench.balancer.observe_failure("b", [bench.stage.key], 0.0)
    _, b, c = bench.stage.replicas
    changed = replace(bench.stage, replicas=(b, replace(c, generation=2)))
    board = bench.balancer.board(changed, 1.0)
    assert board.index("a") is None
    assert board.ejected_until_s.tolist() == [bench.balancer.settings.ejection_s, 0.0]
    assert board.added_s.tolist() == [-np.inf, 1.0]
    assert board.compute_s[0] == pytest.approx(0.5, rel=0.2)


def test_view_shares_tiers_and_costs_by_nearness():
    bench = Bench({"a": "near", "b": "far"})
    view = bench.board.view(HOME, bench.balancer.network)
    assert view.tiers.tolist() == [0, 1]
    assert view.half_trip_s.tolist() == [
        GUESSES[each].round_trip_s / 2 for each in (Nearness.ZONE, Nearness.REGION)
    ]
    other = bench.board.view(Origin("other", Locality("r", "near")), bench.balancer.network)
    assert other is view


def test_bonus_s_of_the_largest_weight_is_one_typical_compute_time():
    bench = Bench(in_zone("a", "b"), attributes={"a": {"gpu": "h100"}})
    bench.board.observe_compute(0, 0.05)
    preference = parse_preference(f"gpu=h100:{MAX_WEIGHT}")
    assert bench.board.bonus_s([preference]).tolist() == pytest.approx([bench.board.typical_s, 0.0])
    assert bench.board.selected(parse_selector("!gpu")).tolist() == [False, True]


def test_end_ejection_of_one_replica_leaves_others():
    bench = Bench(in_zone("a", "b"))
    bench.board.eject(0, 5.0)
    bench.board.eject(1, 6.0)
    bench.board.end_ejection(0)
    assert bench.board.ejected_until_s.tolist() == [0.0, 6.0]
    bench.board.release_ejections()
    assert bench.board.ejected_until_s.tolist() == [0.0, 0.0]
