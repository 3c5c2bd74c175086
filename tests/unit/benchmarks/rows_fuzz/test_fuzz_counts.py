"""Counts of what became of random graphs."""

from __future__ import annotations

from benchmarks.rows_fuzz.batched_stages import StageVerdict
from benchmarks.rows_fuzz.fuzz_counts import FuzzCounts
from benchmarks.rows_fuzz.mesh_run import MeshVerdict
from onnxmesh.errors import InvalidModel


def stage_verdict(*, mixed=False, batched=True, wrong=0):
    return StageVerdict(1, mixed, 2, not mixed, batched, wrong, "rows meet in 'a'" * (not batched))


def test_counts_show_shares_and_reasons(capsys):
    """Of the graphs in which no rows meet, by number of stages."""
    counts = FuzzCounts(3)
    counts.add(stage_verdict())
    counts.add(stage_verdict(batched=False))
    counts.add(MeshVerdict(2, True, 3, False, 65, True, 0, 5, False, "rows meet"))
    assert counts.right
    counts.show()
    shown = capsys.readouterr().out
    assert "batched of the row-wise in 2 stages: 50.0%" in shown
    assert "mixed, requests in batches at workers: 5" in shown
    assert "1 times: rows meet in …" in shown


def test_wrong_answers_batched_mixtures_and_refusals_are_errors(capsys):
    """Each of them alone."""
    for verdict in (stage_verdict(wrong=1), stage_verdict(mixed=True), InvalidModel("no model")):
        counts = FuzzCounts(1)
        counts.add(verdict)
        assert not counts.right
    assert "seed 1: 1 wrong answers" in capsys.readouterr().out
