"""Partitions as JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.files.digests import ListedFile
from onnxmesh.ids import Digest
from onnxmesh.model.partition import Partition, partitions_from_json, partitions_to_json
from onnxmesh.model.tensor_spec import TensorSpec

names = st.text(max_size=8)
numbers = st.integers(0, 2**63)
specs = st.builds(
    TensorSpec, names, st.sampled_from(["FP32", "BYTES"]), st.none() | st.lists(st.integers(-1, 9)).map(tuple)
)
partitions = st.builds(
    Partition,
    index=st.integers(0, 9),
    start=numbers,
    end=numbers,
    files=st.lists(st.builds(ListedFile, names, names.map(Digest), numbers), max_size=2).map(tuple),
    digest=names.map(Digest),
    inputs=st.lists(specs, max_size=2).map(tuple),
    outputs=st.lists(specs, max_size=2).map(tuple),
    live_out=st.lists(names, max_size=3).map(tuple),
    weight_bytes=numbers,
)


@given(st.lists(partitions, max_size=3))
def test_partitions_survive_json(made):
    """Every field, in order."""
    assert partitions_from_json(partitions_to_json(made)) == made


@pytest.mark.parametrize("text", ["", "{", "3", "[1]", "[{}]", '{"a":1}'])
def test_partitions_refuse_other_json(text):
    """Damaged partitions are DATA_LOSS."""
    with pytest.raises(CorruptData, match="not a list of partitions"):
        partitions_from_json(text)


def test_partition_counts_its_nodes():
    """Nodes [3, 10) are seven."""
    made = Partition(
        index=0,
        start=3,
        end=10,
        files=(),
        digest=Digest(""),
        inputs=(),
        outputs=(),
        live_out=(),
        weight_bytes=0,
    )
    assert made.num_nodes == 7
