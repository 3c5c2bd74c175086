"""Which stages run batches, and why the others do not."""

from __future__ import annotations

import pytest

from onnxmesh.cli.mesh.batching_text import batching_text, unbatched_text
from onnxmesh.v1.model_pb2 import Partition, Plan, StageBatching

MEET = "rows meet in ReduceMax 'node_12' (its output feeds Greater 'node_13')"


ON_RUNS = "batches of up to 8 rows, within 1e-06 of single requests in the runs of the check"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([StageBatching(max_rows=1, why_not=MEET)], f"no batching: {MEET}"),
        (
            [StageBatching(max_rows=8), StageBatching(max_rows=1, why_not=MEET)],
            f"batches of up to 8 rows except in stage 1 ({MEET}), bit for bit as single requests",
        ),
        (
            [StageBatching(max_rows=8, largest_difference=1e-6, not_proven=MEET)],
            f"{ON_RUNS}; rows are not proven to be independent: {MEET}",
        ),
        ([StageBatching()], "no batching"),
    ],
)
def test_batching_text_gives_reasons(found, words):
    """By the node where rows meet; for `on` the text names what is lost."""
    partitions = [Partition(index=index, batching=each) for index, each in enumerate(found)]
    plan = Plan(partitions=partitions)
    assert batching_text(plan) == words
    assert unbatched_text(plan) == (words if MEET in words else "")
