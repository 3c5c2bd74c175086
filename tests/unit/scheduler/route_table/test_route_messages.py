"""Messages of models in the route table."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.state.base import Deployment
from onnxmesh.v1.mesh_pb2 import Splitting
from onnxmesh.v1.model_pb2 import (
    Artefact,
    DeploymentSpec,
    Partition,
    Plan,
    Signature,
    StageBatching,
    TensorSpec,
)
from services.scheduler.route_table.route_messages import inputs_by_stage, splitting
from services.scheduler.route_table.routes import Routes, build_routes
from tests.unit.scheduler.decision_tables import worker


def deployment(num_stages=1, replicas=1, **plan):
    partitions = [Partition(index=i, artefact=Artefact(digest=f"d{i}")) for i in range(num_stages)]
    return Deployment(
        DeploymentSpec(name="m", version=1, replicas=replicas),
        Plan(partitions=partitions, **plan),
        Artefact(),
    )


def test_inputs_by_stage_lists_direct_inputs():
    """Stage 0 then lists what it reads or passes on; a plan without direct inputs lists nothing."""
    inputs = [TensorSpec(name=name) for name in ("a", "b", "c", "d")]
    first = Partition(inputs=inputs[1:2], live_out=["h", "d", "y"])
    plan = Plan(
        signature=Signature(inputs=inputs),
        partitions=[
            first,
            Partition(index=1, direct_inputs=["a"]),
            Partition(index=2, direct_inputs=["b", "c"]),
        ],
    )
    assert inputs_by_stage(plan) == [["b", "d"], ["a"], ["b", "c"]]
    routes = build_routes(
        [replace(deployment(3), plan=plan)],
        {f"m/1/{index}": ("w",) for index in range(3)},
        {"w": worker("w")},
        Routes(),
    )
    assert [list(stage.direct_inputs) for stage in routes.models["m", 1].stages] == [
        ["b", "d"],
        ["a"],
        ["b", "c"],
    ]
    plain = Plan(signature=Signature(inputs=inputs), partitions=[first, Partition(index=1)])
    assert inputs_by_stage(plain) == [[], []]


def plan(*found):
    outputs = [TensorSpec(name=name) for name in ("rows", "table")]
    return Plan(
        signature=Signature(outputs=outputs), partitions=[Partition(batching=batching) for batching in found]
    )


def test_splitting_is_as_far_as_every_stage_allows():
    """Of the tensors that all rows share only outputs of the model are listed."""
    first = StageBatching(max_rows=16, max_split_rows=100, shared=["inner", "table"], cpu_class="c")
    second = StageBatching(max_rows=8, max_split_rows=64, shared=["inner"], cpu_class="c")
    assert splitting(plan(first, second)) == Splitting(
        max_rows=64, shared=["table"], cpu_class="c", max_batch_rows=8
    )


def test_splitting_is_none_where_a_stage_forbids_it():
    """Nor where an older release made the plan."""
    good = StageBatching(max_split_rows=100)
    assert splitting(plan(good, StageBatching(max_rows=8))) is None
    assert splitting(plan(good, StageBatching())) is None
