"""Leaders, terms and candidates."""

from __future__ import annotations

import pytest

from onnxmesh.leadership.base import Candidate, Leader, LeaderStatus, next_term


def test_leader_from_json_reads_what_to_json_wrote():
    leader = Leader("a", "[::1]:1", 2**60)
    assert Leader.from_json(leader.to_json()) == leader
    for text in ("", "[]", "{}", '{"id": "a"}', "null", '{"id": "a", "address": "b", "term": "x"}'):
        with pytest.raises(ValueError):
            Leader.from_json(text)


def test_next_term_is_the_time_unless_the_clock_went_back():
    assert next_term(0, 1.5) == 1500
    assert next_term(2000, 1.5) == 2001


async def test_candidate_publishes_changed_statuses_only():
    candidate = Candidate()
    status = LeaderStatus(Leader("a", "host:1", 7), is_leader=True)
    candidate.set(status)
    candidate.set(LeaderStatus(Leader("a", "host:1", 7), is_leader=True))
    assert candidate.revision == 2
    assert await candidate.after(1) == (2, status)
    assert candidate.status.term == 7
    assert LeaderStatus().term == 0
