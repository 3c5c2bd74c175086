"""Moves: one at a time, for a gain, until there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.desired.desired_stages import Home
from services.scheduler.placement.moves import SETTLE_S, Move
from services.scheduler.placement.placement import decide_placement
from services.scheduler.placement.rebalance import rebalanced
from tests.unit.scheduler.placement_tables import at_rest, commands, done, stages, view, zoned

pytestmark = pytest.mark.timeout(1200)
"""Thousands of decisions: seconds on an idle machine, minutes on a busy one."""


def test_moves_are_listed_with_their_reason_until_they_end():
    """Just started, under way, and ended."""
    desired = stages("m", 2)
    workers = [view("a", "m/1/0 m/1/1"), view("b")]
    move = Move("m/1/0", "a", "b", "'a' has more stages")
    started = decide_placement(desired, workers, 0.0)
    assert (commands(started), started.moves) == (["b+m/1/0"], (move,))
    under_way = decide_placement(desired, [workers[0], view("b", "m/1/0~")], 0.0)
    assert (commands(under_way), under_way.moves) == ([], (move,))
    over = decide_placement(desired, [workers[0], view("b", "m/1/0")], 0.0)
    assert (commands(over), over.moves) == (["a-m/1/0"], ())


def test_moves_avoid_a_worker_that_has_just_joined():
    """It may leave as fast; missing replicas do not wait. `retry_s` is when to decide again."""
    desired = stages("m", 2)
    workers = [view("a", "m/1/0 m/1/1"), view("b", since_s=100.0)]
    early = decide_placement(desired, workers, 100.0 + SETTLE_S / 2)
    assert (commands(early), early.retry_s) == ([], 100.0 + SETTLE_S)
    assert commands(decide_placement(desired, workers, 100.0 + SETTLE_S)) == ["b+m/1/0"]
    assert commands(decide_placement(stages("m", 3), workers, 100.0)) == ["b+m/1/2"]


def test_moves_avoid_a_worker_that_flaps_though_the_plan_assigns_it():
    """Each time it comes back it is new, even where it is home."""
    desired = stages("m", 1, homes=(Home("fast", 1),))
    workers = [view("a", "m/1/0"), view("b", facts={"device.kind": "fast"}, since_s=95.0)]
    assert commands(decide_placement(desired, workers, 100.0)) == []
    assert commands(decide_placement(desired, workers, 95.0 + SETTLE_S)) == ["b+m/1/0"]


def test_moves_are_made_one_at_a_time():
    """However much there is to gain."""
    workers = [view("a", " ".join(f"m/1/{index}" for index in range(8))), view("b"), view("c")]
    assert len(decide_placement(stages("m", 8), workers, 0.0).place) == 1


def test_moves_are_not_made_for_load_alone():
    """A worker that is busy just now keeps what it has; what is new goes elsewhere."""
    workers = [view("a", "m/1/0", wait_s=8.0), view("b", "m/1/1")]
    assert commands(decide_placement(stages("m", 2), workers, 0.0)) == []
    assert commands(decide_placement([*stages("m", 2), *stages("n", 1)], workers, 0.0)) == ["b+n/1/0"]


def test_moves_bring_replicas_to_a_zone_without_one():
    """One zone is not enough where there are two."""
    workers = [*zoned("x", "a", "b"), *zoned("y", "c")]
    workers[0] = replace(workers[0], stages=view("a", "m/1/0").stages)
    workers[1] = replace(workers[1], stages=view("b", "m/1/0").stages)
    placement = decide_placement(stages("m", 1, replicas=2), workers, 0.0)
    assert commands(placement) == ["c+m/1/0"]
    assert [move.why for move in placement.moves] == ["the zone of 'b' has more of its replicas"]


def test_moves_bring_replicas_to_a_host_without_one():
    """Two on one machine are not two."""
    workers = [view(name, "m/1/0" if name < "c" else "", facts={"host": f"h{name > 'b'}"}) for name in "abc"]
    placement = decide_placement(stages("m", 1, replicas=2), workers, 0.0)
    assert [(move.target, move.why) for move in placement.moves] == [
        ("c", "the host of 'b' has more of its replicas")
    ]


def test_moves_bring_a_pipeline_together_in_one_zone():
    """Where workers have as much to do as before."""
    workers = [
        view("a", "m/1/0", facts={"zone": "x"}),
        view("b", "m/1/1", facts={"zone": "y"}),
        view("c", facts={"zone": "y"}),
    ]
    placement = decide_placement(stages("m", 2), workers, 0.0)
    assert placement.moves == (Move("m/1/0", "a", "c", "the zone of 'c' has its neighbours"),)


def test_moves_do_not_separate_stages_that_exchange_much():
    """Sending would cost more than waiting."""
    workers = [
        view("a", "m/1/0", facts={"zone": "x"}),
        view("b", "m/1/1 n/1/0 o/1/0", facts={"zone": "x"}),
        view("c", "p/1/0", facts={"zone": "y"}),
    ]
    rest = [*stages("n", 1, cost_s=0.1), *stages("o", 1, cost_s=0.1), *stages("p", 1)]

    def moved(sent_bytes):
        desired = [*stages("m", 2, sent_bytes=sent_bytes), *rest]
        return [move.stage for move in decide_placement(desired, workers, 0.0).moves]

    assert moved(10) == ["m/1/1"]
    assert moved(10**9) == ["n/1/0"]


def test_moves_do_not_include_missing_replicas():
    """A rebalance reports moves, not loads that happen without it."""
    assert rebalanced(stages("m", 2), [view("a"), view("b")], 0.0) == ()


NAMES = "abcdef"


FACTS = st.fixed_dictionaries(
    {"zone": st.sampled_from(["x", "y", ""]), "device.kind": st.sampled_from(["fast", "slow"])},
    optional={"host": st.sampled_from(["h", "i"])},
)


MODELS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(1, 3),
        st.sampled_from([0.0, 0.004, 0.1]),
        st.sampled_from([0, 10**6, 10**8]),
        st.sampled_from([(), (Home("fast", 1),), (Home("fast", 1), Home("slow", 1))]),
        st.integers(0, 2),
    ),
    max_size=4,
)


@st.composite
def meshes(draw):
    """Any state: stages held anywhere, ready or loading or failed, workers that leave, stages that are not desired."""
    desired = [
        stage
        for index, (num, replicas, cost_s, sent_bytes, homes, peak_bytes) in enumerate(draw(MODELS))
        for stage in stages(
            f"m{index}",
            num,
            replicas=replicas,
            cost_s=cost_s,
            sent_bytes=sent_bytes,
            homes=homes,
            peak_bytes=peak_bytes,
        )
    ]
    keys = [stage.key for stage in desired] + ["ghost/1/0"]
    workers = [
        view(
            name,
            " ".join(
                key + draw(st.sampled_from(["", "", "~", "!", "-"]))
                for key in draw(st.lists(st.sampled_from(keys), max_size=5, unique=True))
            ),
            memory=draw(st.sampled_from([None, 4, 8])),
            facts=draw(FACTS),
            leaving=draw(st.sampled_from([False, False, True])),
            wait_s=draw(st.sampled_from([0.0, 0.001, 0.064])),
        )
        for name in NAMES[: draw(st.integers(1, 6))]
    ]
    return desired, workers


@settings(max_examples=100)
@given(meshes(), st.booleans())
def test_moves_end_from_any_state(mesh, rebalance):
    """With inputs fixed, rounds with orders come to an end, and from then on nothing is proposed and nothing changes."""
    desired, workers = mesh
    end, _ = at_rest(desired, workers, rebalance=rebalance)
    first = decide_placement(desired, end, 0.0, rebalance=rebalance)
    assert first == decide_placement(desired, end, 1e6, rebalance=rebalance)
    assert not first.moves
    assert {each.id for each in end if each.leaving} >= set(first.departing)
    # What a rebalance left, everyday rounds leave as well.
    if rebalance:
        assert commands(decide_placement(desired, end, 0.0)) == []


@settings(max_examples=80)
@given(meshes())
def test_moves_keep_every_stage_served(mesh):
    """Round after round; no evicted stage is routed, no held stage is loaded, no move is made without a gain."""
    desired, workers = mesh
    for _ in range(200):
        placement = decide_placement(desired, workers, 0.0)
        let_go = {(command.worker, command.stage) for command in placement.evict}
        routed = {(worker, key) for key, ids in placement.routed.items() for worker in ids}
        assert not let_go & routed
        after = done(workers, placement)
        if after == workers:
            break
        served = {key for key, ids in placement.routed.items() if ids}
        assert served <= {key for key, ids in decide_placement(desired, after, 0.0).routed.items() if ids}
        workers = after
