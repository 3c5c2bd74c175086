"""Leaders, terms and candidates."""

from __future__ import annotations

import pytest

from onnxmesh.leadership.base import Leader


def test_leader_from_json_reads_what_to_json_wrote():
    leader = Leader("a", "[::1]:1", 2**60)
    assert Leader.from_json(leader.to_json()) == leader
    for text in ("", "[]", "{}", '{"id": "a"}', "null", '{"id": "a", "address": "b", "term": "x"}'):
        with pytest.raises(ValueError):
            Leader.from_json(text)
