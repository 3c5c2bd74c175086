"""Leader election by a file lock."""

from __future__ import annotations

from onnxmesh.leadership.embedded import LEADER_FILE, FileLeaderElection


async def test_file_election_ignores_an_incomplete_leader(tmp_path):
    (tmp_path / LEADER_FILE).write_text('{"id": "a", "addr')
    async with FileLeaderElection(tmp_path).campaign("b", "host:2") as candidate:
        assert candidate.status.is_leader
