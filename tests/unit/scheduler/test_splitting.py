"""What gateways are told about cutting requests into micro-batches."""

from __future__ import annotations

from onnxmesh.v1.mesh_pb2 import Splitting
from onnxmesh.v1.model_pb2 import Partition, Plan, Signature, StageBatching, TensorSpec
from services.scheduler.route_table.route_messages import splitting


def plan(*found):
    outputs = [TensorSpec(name=name) for name in ("rows", "table")]
    return Plan(
        signature=Signature(outputs=outputs), partitions=[Partition(batching=batching) for batching in found]
    )


def test_a_request_is_cut_as_far_as_every_stage_allows():
    """Only outputs of the model are told that all rows share."""
    first = StageBatching(max_rows=16, max_split_rows=100, shared=["inner", "table"], cpu_class="c")
    second = StageBatching(max_rows=8, max_split_rows=64, shared=["inner"], cpu_class="c")
    assert splitting(plan(first, second)) == Splitting(
        max_rows=64, shared=["table"], cpu_class="c", max_batch_rows=8
    )


def test_a_request_is_not_cut_where_a_stage_forbids_it():
    """Nor where an older release made the plan."""
    good = StageBatching(max_split_rows=100)
    assert splitting(plan(good, StageBatching(max_rows=8))) is None
    assert splitting(plan(good, StageBatching())) is None
