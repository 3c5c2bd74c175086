"""Filter, score, pick: what the policy never does, and what it does in the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.ids import StageKey
from onnxmesh.routing.balancer import Balancer
from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.policy import slow_start_share
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.selectors.preference import parse_preferences
from onnxmesh.routing.selectors.selector_text import parse_selector
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from tests.unit.routing.policy_bench import HOME, KEY, NO_LUCK, Bench, alive, in_zone


def test_policy_picks_a_slower_worker_only_with_less_work():
    """Not the count of requests but the time until this one is done is compared."""
    bench = Bench(in_zone("fast", "slow"), replace(NO_LUCK, caution=0.0))
    bench.measure({"fast": 0.01, "slow": 0.1})
    assert bench.pick() == "fast"
    bench.load({"fast": 0.05})
    assert bench.pick() == "fast"
    bench.load({"fast": 0.5})
    assert bench.pick() == "slow"


def test_policy_counts_own_requests_in_flight_at_once():
    """No report has to come first; when it is over it counts no more."""
    bench = Bench(in_zone("a", "b"))
    bench.measure({"a": 0.01, "b": 0.015})
    ticket = bench.balancer.begin([bench.stage], bench.route(), 0.0)
    assert bench.pick() == "b"
    bench.balancer.end(ticket)
    assert bench.pick() == "a"


def test_observe_report_counts_own_work_once():
    """A worker's report has this gateway's requests in it; only the rest is the work of others."""
    bench = Bench(in_zone("a"))
    bench.measure({"a": 0.01})
    bench.balancer.begin([bench.stage], bench.route(), 0.0)
    bench.load({"a": 0.03})
    (verdict,) = bench.explained().verdicts
    assert verdict.wait_s == pytest.approx(0.03)


def test_reports_fade_to_the_typical_work():
    """A worker that was idle a while ago is expected to be as busy as it mostly is."""
    bench = Bench(in_zone("a"))
    bench.measure({"a": 0.01})
    for _ in range(100):
        bench.load({"a": 0.1})
    bench.load({"a": 0.0})
    waits = []
    for _ in range(5):
        waits.append(bench.explained().verdicts[0].wait_s)
        bench.now_s += 0.02
    assert waits[0] == pytest.approx(0.0)
    assert waits == sorted(waits)
    assert waits[-1] < 0.1


def test_observe_wait_measures_the_work_of_others():
    """Without any report: a worker where one waits for others is left for one where one does not."""
    bench = Bench(in_zone("a", "b"))
    for _ in range(100):
        for replica, compute_s, wait_s in zip(bench.stage.replicas, (0.01, 0.012), (0.05, 0.0), strict=True):
            ticket = bench.balancer.begin([bench.stage], (replica,), 0.0)
            bench.balancer.observe_wait(ticket, KEY, wait_s)
            bench.balancer.observe_answer(KEY, replica.worker, compute_s, 0.0)
            bench.balancer.end(ticket)
    assert bench.picks(20) == {"b": 20}
    assert bench.explained().verdicts[0].wait_s == pytest.approx(0.0)
    bench.now_s = 10.0
    assert bench.explained().verdicts[0].wait_s == pytest.approx(0.05, rel=0.01)


def test_unmeasured_replica_has_the_typical_compute_time():
    """Were it taken for a fast one, everyone would run there."""
    bench = Bench(in_zone("a", "b"))
    bench.measure({"a": 0.5})
    assert bench.explained().verdicts[1].compute_s == pytest.approx(0.5)


def test_policy_skips_a_draining_worker():
    """Until it reports the end of the drain."""
    bench = Bench(in_zone("a", "b"))
    board = bench.balancer.workers
    board.set_draining(board.slot("a"), True)
    assert bench.picks(20) == {"b": 20}
    assert [verdict.rule for verdict in bench.explained().verdicts] == ["draining", ""]
    board.set_draining(board.slot("a"), False)
    assert bench.picks(40).keys() == {"a", "b"}


def test_policy_skips_a_suspect_worker_while_there_are_others():
    """It is chosen last, whatever its zone; where no other worker meets the requirements it is chosen as before."""
    bench = Bench({"a": "near", "b": "far"})
    bench.balancer.mark_suspect("a", True)
    assert bench.picks(50) == {"b": 50}
    assert [verdict.rule for verdict in bench.explained().verdicts] == ["silent", ""]
    assert bench.pick(RouteQuery(require=parse_selector("zone=near"))) == "a"
    assert bench.pick(RouteQuery(excluded={"b"})) == "a"
    bench.balancer.mark_suspect("b", True)
    assert bench.pick() == "a"
    bench.balancer.mark_suspect("a", False)
    assert bench.pick() == "a"
    bench.balancer.mark_lost("b")
    assert bench.picks(50)["b"] == 0, "it is live again with the next look, and near ones go first"


def test_policy_filters_by_selectors_and_weighs_preferences():
    """A preference of weight 100 is worth a wait of a typical compute time, and no more."""
    bench = Bench(in_zone("a", "b"), attributes={"a": {"gpu": "yes"}})
    bench.measure({"a": 0.01, "b": 0.01})
    assert bench.picks(50, RouteQuery(require=parse_selector("gpu"))) == {"a": 50}
    assert bench.picks(50, RouteQuery(require=parse_selector("!gpu"))) == {"b": 50}
    prefer = RouteQuery(prefer=parse_preferences(["gpu:100"]))
    assert bench.picks(50, prefer) == {"a": 50}
    bench.balancer = Balancer(HOME, Random(0), replace(NO_LUCK, caution=0.0))
    bench.board = bench.balancer.board(bench.stage, 0.0)
    bench.measure({"a": 0.01, "b": 0.01})
    bench.load({"a": 0.009})
    assert bench.pick(prefer) == "a"
    bench.load({"a": 0.011})
    assert bench.pick(prefer) == "b"


def test_policy_finds_no_route_where_no_worker_meets_the_selector():
    """The result differs from that for workers which are not live at the moment."""
    bench = Bench(in_zone("a", "b"), attributes={"a": {"gpu": "yes"}})
    assert bench.route(RouteQuery(require=parse_selector("tpu"))).is_unsatisfiable
    assert not bench.route(
        RouteQuery(require=parse_selector("gpu")), lambda worker: worker != "a"
    ).is_unsatisfiable


def test_policy_refuses_a_hopeless_deadline_with_a_retry_delay():
    """Once a second one is let pass: figures may be wrong, and only requests correct them."""
    bench = Bench(in_zone("a", "b"))
    bench.measure({"a": 0.01, "b": 0.01})
    bench.load({"a": 0.5, "b": 0.3})
    query = RouteQuery(remaining_s=0.1)
    assert bench.pick(query) == "b"
    for _ in range(20):
        refused = bench.route(query)
        assert refused.is_late
        assert refused.retry_after_s == pytest.approx(0.3 + 0.01 - 0.1)
    bench.now_s += 1.0
    bench.load({"a": 0.5, "b": 0.3})
    assert bench.pick(query) == "b"
    assert bench.route(query).is_late
    assert bench.pick(RouteQuery(remaining_s=0.4)) == "b"


def test_policy_subtracts_earlier_stages_from_the_deadline():
    """Two stages of 60 ms each are not done in 100 ms."""
    balancer = Balancer(HOME, Random(0), NO_LUCK)
    stages = [RoutedStage(StageKey(f"m/1/{i}"), (Replica(f"w{i}", "w:1", 1),)) for i in range(2)]
    for i, stage in enumerate(stages):
        balancer.board(stage, 0.0)
        balancer.observe_answer(stage.key, f"w{i}", 0.06, 0.0)
    assert not isinstance(balancer.pick_route(stages, alive, 0.0, RouteQuery(remaining_s=0.2)), NoRoute)
    balancer.pick_route(stages, alive, 0.0, RouteQuery(remaining_s=0.1))  # the one that is let pass
    refused = balancer.pick_route(stages, alive, 0.0, RouteQuery(remaining_s=0.1))
    assert (refused.stage, refused.is_late) == (1, True)


@given(
    st.lists(
        st.tuples(st.sampled_from(["near", "far", "other"]), *[st.booleans()] * 4),
        min_size=1,
        max_size=9,
    ),
    st.lists(st.tuples(st.integers(0, 8), st.floats(0, 1), st.floats(1e-4, 1)), max_size=20),
    st.floats(0, 1),
    st.integers(0, 1000),
)
def test_policy_pick_passes_every_filter(workers, figures, explore, seed):
    """Dead, excluded and ejected workers are never picked, suspect ones only where all are; if any candidate is left, one is picked."""
    names = {f"w{i}": zone for i, (zone, *_) in enumerate(workers)}
    bench = Bench(names, replace(NO_LUCK, explore=explore), seed)
    for index, work_s, compute_s in figures:
        bench.measure({f"w{index}": compute_s})
        bench.load({f"w{index}": work_s})
    dead, excluded, failing, suspect = (
        {f"w{i}" for i, each in enumerate(workers) if each[k]} for k in (1, 2, 3, 4)
    )
    for worker in suspect:
        bench.balancer.mark_suspect(worker, True)
    for worker in failing:
        for _ in range(NO_LUCK.max_errors):
            bench.balancer.observe_failure(worker, [KEY], 0.0)
    ejected = {f"w{i}" for i in bench.board.ejected_until_s.nonzero()[0]}
    assert ejected <= failing
    assert len(ejected) <= bench.board.outliers.cap < len(workers)
    usable = names.keys() - dead - excluded - ejected
    usable = usable - suspect or usable
    for _ in range(10):
        picked = bench.pick(RouteQuery(excluded=excluded), lambda worker: worker not in dead)
        assert picked in usable if usable else picked is None


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(0, 100))
def test_policy_picks_every_live_replica_eventually(num, seed):
    """However bad its figures, and in whatever zone: figures are only corrected by requests."""
    names = {f"w{i}": ("near", "far")[i % 2] for i in range(num)}
    bench = Bench(names, replace(NO_LUCK, explore=0.25), seed)
    bench.measure({worker: 0.001 * (1 + index) ** 2 for index, worker in enumerate(names)})
    bench.load({worker: 0.1 * index for index, worker in enumerate(names)})
    assert bench.picks(num * 60).keys() == names.keys()


def test_policy_keeps_a_session_only_where_every_filter_passes():
    """A far or busy worker keeps it; one that is down, ejected, late or lacks something does not."""
    bench = Bench({"a": "near", "b": "far", "c": "near"}, attributes={"b": {"slow": "1"}})
    query = RouteQuery(affinity={KEY: "b"})
    bench.load({"b": 5.0})
    assert bench.picks(50, query) == {"b": 50}
    assert bench.explained(query).outcome == "'b': it has served this session"
    for away in (
        {"query": replace(query, excluded={"b"})},
        {"query": replace(query, require=parse_selector("!slow"))},
        {"query": replace(query, remaining_s=1.0)},
        {"query": query, "is_live": lambda worker: worker != "b"},
    ):
        assert bench.pick(**away) != "b"
    assert bench.picks(50, RouteQuery(affinity={KEY: "removed"})).keys() == {"a", "c"}
    bench.balancer.ejections.adopt(KEY, "b", 9.0, "adopted", 0.0)
    assert bench.pick(query) != "b"
    bench.balancer.ejections.drop(KEY, "b")
    assert bench.pick(query) == "b"


@given(st.floats(0.1, 100), st.floats(0, 1), st.lists(st.floats(0, 200), min_size=2, max_size=2))
def test_slow_start_share_never_decreases(window_s, floor, ages):
    """An older replica never gets less than a younger one; no replica gets less than the floor or more than all."""
    younger, older, grown = slow_start_share(np.array([*sorted(ages), window_s]), window_s, floor)
    assert floor <= younger <= older + 1e-12
    assert older <= 1
    assert grown == pytest.approx(1)


def test_policy_sends_a_new_replica_few_requests_at_first():
    """Its share grows from a tenth of an equal one to all of it in ten seconds; the first ones start whole."""
    bench = Bench(in_zone("a", "b"))
    assert bench.picks(1000)["b"] > 400
    bench.now_s = 100.0
    bench.stage = bench.staged(in_zone("a", "b", "c"), {})
    found = []
    for _ in range(5):
        found.append(bench.picks(3000)["c"] / 1000)
        bench.now_s += 2.5
    assert found == pytest.approx([0.1, 0.325, 0.55, 0.775, 1.0], abs=0.1)


def test_board_keeps_estimates_after_a_change_of_the_table():
    """Compute times and ejections stay; a worker that was started again is a new one."""
    bench = Bench(in_zone(*"abc"))
    bench.measure({"a": 0.01, "b": 0.5})
    for _ in range(NO_LUCK.max_errors):
        bench.balancer.observe_failure("b", [KEY], 0.0)
    assert bench.balancer.board(bench.staged(in_zone(*"abc"), {}), 0.0) is bench.board
    bench.stage = bench.staged(in_zone(*"abcd"), {})
    verdicts = {verdict.worker: verdict for verdict in bench.explained().verdicts}
    assert verdicts["a"].compute_s == pytest.approx(0.01)
    assert verdicts["b"].rule == "ejected"
    bench.stage = replace(
        bench.stage, replicas=tuple(replace(each, generation=2) for each in bench.stage.replicas)
    )
    assert {verdict.rule for verdict in bench.explained().verdicts} == {""}


def test_explanation_matches_the_decision():
    """Each worker with its rule or its figures; with equal draws the pick is the one that a request would get."""
    names = {"dead": "near", "failed": "near", "lame": "near", "late": "near", "ok": "near", "away": "far"}
    bench = Bench(names, attributes={name: {"gpu": "yes"} for name in names if name != "lame"})
    bench.measure(dict.fromkeys(names, 0.01))
    bench.load({"late": 2.0, "ok": 0.001})
    query = RouteQuery(
        excluded={"failed"},
        require=parse_selector("gpu"),
        prefer=parse_preferences(["zone=near:50"]),
        remaining_s=1.0,
    )
    found = bench.explained(query, lambda worker: worker != "dead")
    verdicts = {verdict.worker: verdict for verdict in found.verdicts}
    assert {name: verdict.rule for name, verdict in verdicts.items()} == {
        "dead": "not live",
        "failed": "excluded",
        "lame": "requirement",
        "late": "deadline",
        "ok": "",
        "away": "",
    }
    assert verdicts["lame"].why == "lacks 'gpu'"
    assert verdicts["late"].why == "done in 2.01 s, expected within 1.00 s"
    assert verdicts["away"].why == "tier 1 was not drawn"
    ok = verdicts["ok"]
    assert (ok.is_picked, found.picked) == (True, "ok")
    assert found.outcome == "'ok': the better of two of the best of tier 0, which keeps 100% of requests"
    assert ok.bonus_s == pytest.approx(0.005)
    assert ok.score_s == pytest.approx(ok.transfer_s + ok.wait_s + ok.compute_s + ok.caution_s - ok.bonus_s)
    assert bench.pick(query, lambda worker: worker != "dead") == "ok"


def test_balancer_refreshes_the_liveness_of_large_stages_periodically():
    """Of a thousand workers not each is evaluated at each decision; a dead one is still never picked."""
    bench = Bench({f"w{i}": "near" for i in range(200)})
    dead = set()
    evaluated = Counter()

    def is_live(worker):
        evaluated[worker] += 1
        return worker not in dead

    for _ in range(100):
        bench.pick(is_live=is_live)
    assert evaluated.total() < 400
    dead = {f"w{i}" for i in range(150)}
    for _ in range(100):
        assert bench.pick(is_live=is_live) not in dead


def test_policy_ignores_slow_start_where_the_others_are_full():
    """Where the others would make a request wait for long, being new is the smaller evil."""
    bench = Bench(in_zone("a", "b"))
    bench.measure({"a": 0.01, "b": 0.01})
    bench.now_s = 100.0
    bench.stage = bench.staged(in_zone("a", "b", "c"), {})
    for worker, work_s in (("a", 0.03), ("b", 0.03)):
        bench.balancer.observe_report(worker, work_s, {}, bench.now_s)
    assert bench.picks(200).get("c", 0) < 80
    for worker in "ab":
        bench.balancer.observe_report(worker, 0.06, {}, bench.now_s)
    assert bench.picks(200)["c"] > 100
