"""`onnxmesh explain`."""

from __future__ import annotations

import json

from onnxmesh.cli.mesh.explain import stage_table
from onnxmesh.v1.mesh_pb2 import (
    ExplainResponse,
    ModelStatus,
    ReplicaVerdict,
    StageExplanation,
    StatusResponse,
)
from onnxmesh.v1.model_pb2 import Partition, Plan, StageBatching
from tests.fakes.command_line import run_with
from tests.fakes.fake_mesh import FakeMesh


def test_explain_marks_an_estimated_transfer():
    """With a ~; a measured one has none."""
    stage = StageExplanation(
        stage="m/1/0",
        replicas=[
            ReplicaVerdict(worker="a", transfer_us=1500, transfer_measured=True),
            ReplicaVerdict(worker="b", transfer_us=250),
        ],
    )
    shown = list(stage_table(stage).columns[2].cells)
    assert shown == ["1.50", "~0.25"]


async def test_explain_lists_the_pick_first_and_filtered_workers_last():
    """The request carries the options; --json prints every field, also those without a value."""
    replicas = [
        ReplicaVerdict(worker="far", score_us=10),
        ReplicaVerdict(worker="old", rule="requirement", why="lacks 'gpu'"),
        ReplicaVerdict(worker="best", score_us=90, picked=True),
    ]
    found = ExplainResponse(
        gateway="g", version=2, stages=[StageExplanation(stage="m/2/0", outcome="best", replicas=replicas)]
    )
    async with FakeMesh(Explain=[found, found]).running() as mesh:
        shown = await run_with(mesh, "explain", "m", "--require", "gpu", "--from", "eu", "--timeout-ms", 2)
        document = await run_with(mesh, "explain", "m", "--json")
    first, second = mesh.of("Explain")
    assert (list(first.require), first.from_zone, first.remaining_us) == (["gpu"], "eu", 2000)
    assert not second.HasField("remaining_us")
    order = [shown.stdout.index(name) for name in ("best  ", "far  ", "old  ")]
    assert order == sorted(order)
    assert "requirement: lacks 'gpu'" in shown.stdout
    assert shown.stdout.endswith("from gateway g, for version 2\n")
    assert [each["picked"] for each in json.loads(document.stdout)["stages"][0]["replicas"]] == [
        False,
        False,
        True,
    ]


async def test_explain_says_why_requests_are_not_batched():
    """By the plan of the version that it explains."""
    reason = "rows meet in ReduceMax 'node_12' (its output feeds Greater 'node_13')"
    plans = {1: StageBatching(max_rows=8), 2: StageBatching(max_rows=1, why_not=reason)}
    models = [
        ModelStatus(name="m", version=version, plan=Plan(partitions=[Partition(batching=batching)]))
        for version, batching in plans.items()
    ]
    answers = {
        "Explain": [ExplainResponse(gateway="g", version=2)],
        "Status": [StatusResponse(models=models)],
    }
    async with FakeMesh(**answers).running() as mesh:
        shown = await run_with(mesh, "explain", "m")
    assert f"no batching: {reason}" in " ".join(shown.stdout.split())
