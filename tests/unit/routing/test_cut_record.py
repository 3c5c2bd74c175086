"""What is learned of cutting requests."""

from __future__ import annotations

from onnxmesh.routing.cut_record import TRY_AGAIN, CutRecord


def chosen(record, num=4 * TRY_AGAIN):
    return [record.next_is_cut() for _ in range(num)]


def test_the_first_request_goes_whole_and_the_second_is_cut():
    """So that both are measured."""
    record = CutRecord()
    assert not record.next_is_cut()
    record.took(1.0, cut=False)
    assert record.next_is_cut()


def test_what_was_faster_is_done_and_the_other_tried_now_and_then():
    """Cutting must be faster by the least gain."""
    for cut_s, mostly in ((0.5, True), (0.95, False), (2.0, False)):
        record = CutRecord()
        record.took(1.0, cut=False)
        record.took(cut_s, cut=True)
        seen = chosen(record)
        assert seen.count(not mostly) == 4
        assert seen.count(mostly) == 4 * (TRY_AGAIN - 1)


def test_a_change_is_noticed():
    """By the requests that try again."""
    record = CutRecord()
    record.took(1.0, cut=False)
    record.took(2.0, cut=True)
    for _ in range(100 * TRY_AGAIN):
        cut = record.next_is_cut()
        record.took(0.5 if cut else 1.0, cut=cut)
    assert chosen(record).count(True) == 4 * (TRY_AGAIN - 1)
