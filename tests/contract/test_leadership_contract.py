"""Both leader elections keep their promises, by a file lock and by a real Consul."""

from __future__ import annotations

import pytest

from onnxmesh.leadership.base import LeaderStatus
from onnxmesh.leadership.consul import ConsulLeaderElection
from onnxmesh.leadership.embedded import FileLeaderElection
from tests.eventually import eventually


@pytest.fixture(params=["embedded", pytest.param("consul", marks=pytest.mark.services)])
def leadership(request, tmp_path):
    """`leadership(now_s=None)`: what a candidate of one mesh campaigns with."""
    if request.param == "embedded":
        return lambda **clock: FileLeaderElection(tmp_path, **clock)
    open_agent, program = request.getfixturevalue("open_agent"), request.getfixturevalue("consul_program")
    return lambda **clock: ConsulLeaderElection(open_agent(program), **clock)


async def test_election_is_won_by_a_candidate_without_a_rival(leadership):
    async with leadership().campaign("a", "host:1") as candidate:
        await eventually(lambda: candidate.status.is_leader)
        leader = candidate.status.leader
        assert (leader.id, leader.address) == ("a", "host:1")
        assert leader.term > 0
    assert candidate.status == LeaderStatus()


async def test_election_has_one_leader_whom_all_candidates_know(leadership):
    async with leadership().campaign("a", "host:1") as first:
        await eventually(lambda: first.status.is_leader)
        async with leadership().campaign("b", "host:2") as second:
            await eventually(lambda: second.status.leader)
            assert second.status.leader == first.status.leader
            assert not second.status.is_leader
            assert first.status.is_leader


async def test_election_after_a_resignation_has_a_later_term(leadership):
    async with leadership().campaign("b", "host:2") as second:
        await eventually(lambda: second.status.is_leader)
        campaign = leadership().campaign("c", "host:3")
        third = await campaign.__aenter__()
        await eventually(lambda: third.status.leader)
        term = second.status.term
        revision = third.revision
    while not third.status.is_leader:
        revision, _ = await third.after(revision)
    assert third.status.leader.id == "c"
    assert third.status.term > term
    await campaign.__aexit__(None, None, None)


async def test_terms_increase_though_clocks_go_back(leadership):
    """A leader whose clock is behind still gets a term after the one before."""
    terms = []
    for now_s in (2_000_000_000.0, 1_000_000_000.0, 1_000_000_000.0):
        async with leadership(clock=lambda now_s=now_s: now_s).campaign("a", "host:1") as candidate:
            await eventually(lambda: candidate.status.is_leader)
            terms.append(candidate.status.term)
    assert terms == [2_000_000_000_000, 2_000_000_000_001, 2_000_000_000_002]
