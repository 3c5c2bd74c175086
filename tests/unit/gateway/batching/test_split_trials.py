"""Trials whether splitting requests is faster."""

from __future__ import annotations

from random import Random

import pytest

from services.gateway.batching.split_trials import NUM_TRIALS, TRY_AGAIN, SplitTrials


def run(record, times, num):
    """Lets so many requests take the times that `times` gives for them; returns which were cut."""
    seen = []
    for number in range(num):
        cut = record.next_is_cut()
        record.took(times(number, cut), cut=cut)
        seen.append(cut)
    return seen


def steady(whole_s, cut_s):
    return lambda number, cut: cut_s if cut else whole_s


def test_both_ways_are_tried_in_turns_the_whole_one_first():
    """Whatever comes of them."""
    for cut_s in (0.5, 2.0):
        assert run(SplitTrials(), steady(1.0, cut_s), 2 * NUM_TRIALS) == [False, True] * NUM_TRIALS


def test_what_was_faster_is_done_and_the_other_tried_now_and_then():
    """Cutting must be faster by the least gain."""
    for cut_s, mostly in ((0.5, True), (0.95, False), (2.0, False)):
        seen = run(SplitTrials(), steady(1.0, cut_s), 2 * NUM_TRIALS + 4 * TRY_AGAIN)[2 * NUM_TRIALS :]
        assert seen.count(not mostly) == 4


@pytest.mark.parametrize("cold", [{0}, {1}, {0, 1}], ids=["whole", "cut", "both"])
def test_a_slow_first_request_decides_nothing(cold):
    """The first run of a size is slow, and a machine may be busy for a moment: the rest of the trial counts."""
    for whole_s, cut_s, mostly in ((1.0, 0.6, True), (1.0, 1.2, False)):
        usual = steady(whole_s, cut_s)
        seen = run(
            SplitTrials(),
            lambda number, cut, usual=usual: usual(number, cut) * (4 if number in cold else 1),
            60,
        )
        assert seen[2 * NUM_TRIALS :].count(mostly) >= 54 - 54 // TRY_AGAIN - 1


@pytest.mark.parametrize(("before", "after"), [((1.0, 2.0), (1.0, 0.5)), ((1.0, 0.5), (1.0, 2.0))])
def test_a_change_is_noticed_by_one_that_tries_again_and_the_next_ones_follow(before, after):
    """Not after many rounds of them: what was seen to be faster once is looked at again at once."""
    record = SplitTrials()
    run(record, steady(*before), 100)
    run(record, steady(*after), TRY_AGAIN + 5)
    better = after[1] < after[0]
    assert run(record, steady(*after), TRY_AGAIN).count(better) == TRY_AGAIN - 1


def test_all_requests_becoming_slower_changes_nothing_for_long():
    """Figures of the way that is not used are old; they are renewed by using it."""
    record = SplitTrials()
    run(record, steady(1.0, 0.6), 100)
    run(record, steady(3.0, 1.8), 16)
    assert run(record, steady(3.0, 1.8), TRY_AGAIN).count(True) == TRY_AGAIN - 1


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_borne(seed):
    """Where every fourth request takes up to three times as long, the faster way is still taken by most."""
    rng = Random(seed)

    def times(number, cut):
        return (0.6 if cut else 1.0) * (1.0 + (2.0 * rng.random() if rng.random() < 0.25 else 0.0))

    assert run(SplitTrials(), times, 200).count(True) > 120


def test_several_that_are_under_way_at_once_are_whole_until_one_is_answered():
    """What is not measured is not held against anything."""
    record = SplitTrials()
    assert not any(record.next_is_cut() for _ in range(8))
    for _ in range(8):
        record.took(1.0, cut=False)
    assert all(record.next_is_cut() for _ in range(8))
