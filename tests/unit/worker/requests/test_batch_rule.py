"""Batch rules of partitions; the groups are tested with the queue."""

from __future__ import annotations

import pytest

from onnxmesh.tensors.datatype import Datatype
from onnxmesh.v1.model_pb2 import Partition, StageBatching, TensorSpec
from services.worker.requests.batch_rule import BatchRule
from tests.unit.worker.stage_requests import rows, rule


def partition(**batching):
    inputs = [TensorSpec(name="x", datatype="FP32"), TensorSpec(name="s", datatype="INT64")]
    return Partition(inputs=inputs, batching=StageBatching(**batching))


@pytest.mark.parametrize("batching", [{}, {"max_rows": 1}, {"max_rows": 4, "shared": ["x", "s"]}])
def test_batch_rule_is_none_where_each_request_runs_alone(batching):
    """Fewer than two rows, or no input with a batch axis."""
    assert BatchRule.of(partition(**batching)) is None


def test_batch_rule_has_the_inputs_the_limits_and_the_cpu_class_of_its_partition():
    """The delay in seconds; an absent one is None, 0 is none at all."""
    made = BatchRule.of(partition(max_rows=4, shared=["s"], max_delay_us=1500, cpu_class="avx2"))
    assert made.inputs == (("x", Datatype.FP32), ("s", Datatype.INT64))
    assert (made.shared, made.max_rows, made.max_delay_s, made.cpu_class) == ({"s"}, 4, 0.0015, "avx2")
    assert BatchRule.of(partition(max_rows=4)).max_delay_s is None
    assert BatchRule.of(partition(max_rows=4, max_delay_us=0)).max_delay_s == 0.0


def test_batch_rule_groups_by_shape_and_counts_rows():
    """Behind the batch axis."""
    one, two, wide = rows(1, 1), rows(2, 1, 2), rows(3, 1, width=2)
    groups = [rule().group_of(each) for each in (one, two, wide)]
    assert groups[0].like == groups[1].like != groups[2].like
    assert [group.rows for group in groups] == [1, 2, 1]
    assert rule().row_counts([one, two]) == [1, 2]
