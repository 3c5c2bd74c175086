"""Each candidate is explained by its filter or by its score."""

from __future__ import annotations

import pytest

from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.selectors.preference import parse_preferences
from onnxmesh.routing.selectors.selector_text import parse_selector
from tests.unit.routing.policy_bench import KEY, Bench, in_zone


def test_explanation_names_the_filter_of_each_candidate():
    bench = Bench(in_zone("failed", "dead", "drained", "wrong", "ok"), attributes={"wrong": {"old": "1"}})
    board = bench.balancer.workers
    board.set_draining(board.slot("drained"), True)
    found = bench.explained(
        RouteQuery(excluded={"failed"}, require=parse_selector("!old")),
        is_live=lambda worker: worker != "dead",
    )
    assert {each.worker: each.rule for each in found.verdicts} == {
        "failed": "excluded",
        "dead": "not live",
        "drained": "draining",
        "wrong": "requirement",
        "ok": "",
    }
    assert found.picked == "ok"
    assert found.stage == KEY


def test_explanation_has_a_score_that_is_the_sum_of_its_parts():
    bench = Bench(in_zone("a", "b"), attributes={"a": {"gpu": "h100"}})
    bench.measure({"a": 0.01, "b": 0.02})
    bench.load({"a": 0.3, "b": 0.0})
    found = bench.explained(RouteQuery(prefer=parse_preferences(["gpu=h100:50"])))
    for each in found.verdicts:
        parts = each.transfer_s + each.wait_s + each.compute_s + each.caution_s - each.bonus_s
        assert each.score_s == pytest.approx(parts)
    first, second = found.verdicts
    assert first.bonus_s > second.bonus_s == 0.0
    assert first.wait_s > second.wait_s


def test_explanation_without_a_candidate_says_so():
    found = Bench(in_zone("a")).explained(RouteQuery(excluded={"a"}))
    assert found.outcome == "no candidate remains"
    assert found.picked is None


def test_explanation_has_no_deadline_rule_for_a_replica_that_is_done_just_in_time():
    """The policy lets it pass, and the explanation says the same."""
    bench = Bench(in_zone("a"))
    bench.measure({"a": 0.5})
    found = bench.explained(RouteQuery(remaining_s=0.5))
    assert found.picked == "a"
    assert found.verdicts[0].rule == ""
