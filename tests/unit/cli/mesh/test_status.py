"""`onnxmesh status`: sentences and tables."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.cli.mesh.status import ejection_texts, gateway_sentence, plan_sentence
from onnxmesh.cli.mesh.status_document import model_document, status_document
from onnxmesh.v1.mesh_pb2 import (
    Ejection,
    ModelStatus,
    StatusResponse,
    TableResponse,
    WorkerStatus,
)
from onnxmesh.v1.model_pb2 import (
    DeploymentSpec,
    Partition,
    Plan,
    PlannedDevices,
    StageBatching,
)
from tests.fakes.command_line import run
from tests.fakes.fake_scheduler import FakeScheduler


def test_status_describes_the_route_table_of_the_gateway():
    """And since when no scheduler updates it; the reply of a scheduler itself has no such line."""
    table = TableResponse(gateway="g", epoch=7, num_models=2, num_workers=3, scheduler="h:1")
    assert gateway_sentence(table) == (
        "gateway g: route table 7, 2 model versions on 3 workers; updated by scheduler h:1"
    )
    document = status_document(StatusResponse(epoch=7), table)
    assert document["gateway"] == {
        "id": "g",
        "epoch": 7,
        "num_models": 2,
        "num_workers": 3,
        "stale": False,
        "alone_s": 0.0,
        "scheduler": "h:1",
        "sent": [],
    }
    table.stale, table.alone_ms = True, 12_340
    assert gateway_sentence(table).endswith("; scheduler h:1 unreachable for 12.3 s")
    new = TableResponse(gateway="g", stale=True, alone_ms=500)
    assert gateway_sentence(new) == "gateway g: no route table yet; scheduler unreachable for 0.5 s"
    assert status_document(StatusResponse())["gateway"] is None


async def test_status_of_a_scheduler_has_no_route_table():
    """What only gateways report is omitted."""
    async with FakeScheduler().running() as scheduler:
        done = await asyncio.to_thread(run, "status", "--mesh", scheduler.address)
    assert done.exit_code == 0
    assert "route table" not in done.stdout


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([StageBatching(max_rows=8)] * 2, "batches of up to 8 rows, bit for bit as single requests"),
        (
            [
                StageBatching(max_rows=8, largest_difference=2e-7),
                StageBatching(max_rows=1, largest_difference=1, why_not="so"),
            ],
            "batches of up to 8 rows except in stage 1 (so), within 2e-07 of single requests",
        ),
        ([StageBatching(max_rows=1, why_not="it is off")] * 2, "no batching: it is off"),
        ([StageBatching()], "no batching"),
    ],
)
def test_status_describes_the_batching_of_stages(found, words):
    """With the difference from single requests, or the reason why there is none."""
    partitions = [Partition(index=index, batching=each) for index, each in enumerate(found)]
    assert words in plan_sentence(ModelStatus(name="m", version=1, plan=Plan(partitions=partitions)))


def test_status_describes_the_plan_of_a_model():
    """Mode, difference, predictions and the number of plans."""
    plan = Plan(
        mode="portable",
        largest_difference=2e-6,
        predicted_period_s=0.01,
        predicted_latency_s=0.03,
        revision=2,
        why="3 stages as requested.",
        partitions=[Partition(devices=[PlannedDevices(kind="cpu-x", count=2)])],
    )
    model = ModelStatus(name="m", version=4, plan=plan, spec=DeploymentSpec(objective="latency"))
    assert plan_sentence(model) == (
        "m version 4: mode portable, largest difference from the uncut model is 2e-06; "
        "predicted 100 requests/s and 30.0 ms latency; no batching; replanned 2 times; 3 stages as requested"
    )
    document = model_document(model)
    assert (document["mode"], document["largest_difference"], document["objective"]) == (
        "portable",
        2e-6,
        "latency",
    )
    assert document["stages"][0]["devices"] == [{"kind": "cpu-x", "count": 2}]
    plan.largest_difference = -1
    assert "was not measured" in plan_sentence(ModelStatus(plan=plan))
    assert model_document(ModelStatus(plan=plan))["largest_difference"] is None
    exact = ModelStatus(name="m", version=1, plan=Plan(optimisation="all"))
    assert plan_sentence(exact) == "m version 1: mode exact, optimisation all; no batching"


def test_status_lists_ejections():
    """In the table and in the document."""
    worker = WorkerStatus(id="w", ejections=[Ejection(stage="m/1/0", gateway="g", remaining_ms=1500)])
    assert ejection_texts(worker) == ["m/1/0 ejected by g for another 1.5 s"]
    (document,) = status_document(StatusResponse(workers=[worker]))["workers"]
    assert document["ejections"] == [{"stage": "m/1/0", "gateway": "g", "remaining_ms": 1500}]
    assert document["heard_load"] is None
