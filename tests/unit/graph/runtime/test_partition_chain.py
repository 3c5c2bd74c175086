"""Chains of partitions in one process."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidRequest
from onnxmesh.graph.runtime.partition_chain import PartitionChain
from onnxmesh.graph.split import split_model
from tests.zoo import ZOO


def test_chain_requires_inputs_that_it_passes_on(tmp_path):
    """An input that only a late stage reads is missed at the first, by name."""
    path = ZOO["late_input"].build(tmp_path)
    plan, _ = split_model(path, tmp_path / "out", 3)
    feeds = ZOO["late_input"].tensors(1)
    del feeds["late"]
    with pytest.raises(InvalidRequest, match="input 'late' is missing"):
        PartitionChain(tmp_path / "out", plan.partitions).run(feeds)
