"""Work of this process is known exactly, work of others by reports that fade."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.routing.worker_board import WorkerBoard


@pytest.fixture
def board():
    return WorkerBoard()


def work_s(board, slot, now_s=0.0, fade_s=1.0):
    return float(board.work_s(np.array([slot]), np.array([fade_s]), now_s)[0])


def test_observe_report_counts_own_work_once(board):
    slot = board.slot("a")
    board.begin(slot, 0.2)
    board.observe_report("a", 0.5, 0.0)
    assert board.others_s[slot] == pytest.approx(0.3)
    assert work_s(board, slot) == pytest.approx(0.5)
    board.end(slot, 0.2)
    assert work_s(board, slot) == pytest.approx(0.3)


def test_work_s_fades_to_the_typical_work(board):
    """After one fade time report and typical work weigh the same."""
    slot = board.slot("a")
    board.set_expected(np.array([slot]), np.array([0.4]), 0.0)
    board.observe_report("a", 0.0, 10.0)
    typical_s = float(board.typical_s[slot])
    assert 0.0 < typical_s < 0.4
    assert work_s(board, slot, now_s=10.0) == pytest.approx(0.0)
    assert work_s(board, slot, now_s=11.0) == pytest.approx(typical_s / 2)
    assert work_s(board, slot, now_s=1e9) == pytest.approx(typical_s)


def test_most_work_s_bounds_work_s(board):
    slot = board.slot("a")
    board.begin(slot, 0.1)
    board.observe_report("a", 0.6, 0.0)
    for now_s in (0.0, 0.5, 3.0):
        assert work_s(board, slot, now_s) <= board.most_work_s(slot)


def test_worker_board_reuses_a_slot_only_when_nothing_is_in_flight_there(board):
    slot = board.slot("a")
    board.begin(slot, 0.1)
    board.remove("a")
    others = {board.slot(f"w{number}") for number in range(40)}
    assert slot not in others
    board.end(slot, 0.1)
    assert board.slot("b") == slot
    assert board.num_own("b") == 0
    assert board.own_s[slot] == 0.0


def test_set_live_clears_the_work_of_a_lost_worker(board):
    slot = board.slot("a")
    board.observe_report("a", 0.6, 0.0)
    board.set_live(slot, False)
    assert not board.up[slot]
    assert work_s(board, slot) == 0.0
    board.set_draining(slot, True)
    board.set_live(slot, True)
    assert not board.up[slot]


def test_set_suspect_counts_each_worker_once(board):
    slot = board.slot("a")
    for suspect in (True, True):
        board.set_suspect(slot, suspect)
    assert board.num_suspect == 1
    board.remove("a")
    assert board.num_suspect == 0


def test_end_leaves_the_work_of_other_requests(board):
    """Only what the request had added is taken off."""
    slot = board.slot("a")
    board.begin(slot, 0.1)
    board.begin(slot, 0.25)
    board.end(slot, 0.1)
    assert board.own_s[slot] == pytest.approx(0.25)


@pytest.mark.parametrize("works_s", [(0.1, 0.2, 0.3), (0.7, 0.1, 1e-18)])
def test_end_never_leaves_rounding_errors(board, works_s):
    """The sum of these is, by rounding, more or less than what is taken off: work is never negative, and 0 in the end."""
    slot = board.slot("a")
    for work_s in works_s:
        board.begin(slot, work_s)
    for work_s in works_s:
        board.end(slot, work_s)
        assert board.own_s[slot] >= 0.0
    assert board.own_s[slot] == 0.0
