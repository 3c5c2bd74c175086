"""What keeps a stage on a worker that is drained."""

from __future__ import annotations

import pytest

from onnxmesh.ids import Digest
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.operations.drain_goal import why_it_stays
from services.scheduler.placement.placement import Placement, WorkerView
from services.scheduler.workers.holdings import Held, HoldingState
from tests.unit.scheduler.decision_tables import STAGE


@pytest.mark.parametrize(
    ("workers", "lacking_bytes", "why"),
    [
        ([], {}, "m/1/0: there is no other worker"),
        ([WorkerView("c", leaving=True)], {}, "m/1/0: there is no other worker"),
        ([WorkerView("b", frozenset({"gpu"}))], {}, ""),
        ([WorkerView("b")], {}, "m/1/0: no other worker satisfies gpu"),
        (
            [WorkerView("b", frozenset({"gpu"}))],
            {STAGE: 5_000_000},
            "m/1/0: no other worker has the memory for it, the best lacks 5.0 MB",
        ),
        (
            [WorkerView("b", frozenset({"gpu"}), {}, {STAGE: Held(HoldingState.LOADING, Digest("d"))})],
            {STAGE: 5_000_000},
            "",
        ),
        (
            [
                WorkerView(
                    "b",
                    frozenset({"gpu"}),
                    {},
                    {STAGE: Held(HoldingState.FAILED, Digest("d"), "X", "no disk")},
                )
            ],
            {},
            "m/1/0: it could not be loaded on b: no disk",
        ),
    ],
)
def test_why_it_stays_names_what_keeps_a_stage(workers, lacking_bytes, why):
    """A stage that is being moved has no reason."""
    stage = DesiredStage(STAGE, ("m", 1), Digest("d"), require=("gpu",))
    workers_of_mesh = [WorkerView("a", frozenset({"gpu"}), leaving=True), *workers]
    assert why_it_stays(stage, "a", workers_of_mesh, Placement({}, lacking_bytes=lacking_bytes)) == why
