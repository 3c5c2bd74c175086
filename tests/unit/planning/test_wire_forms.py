"""Profiles and partitions survive the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.files.digests import ListedFile
from onnxmesh.ids import Digest
from onnxmesh.model.graph_costs import Boundary, GraphCosts, NodeCost
from onnxmesh.model.partition import Partition, partitions_from_json, partitions_to_json
from onnxmesh.model.signature import Signature
from onnxmesh.model.tensor_spec import TensorSpec

names = st.text(max_size=8)
figures = st.integers(0, 2**63)
specs = st.builds(
    TensorSpec, names, st.sampled_from(["FP32", "BYTES"]), st.none() | st.lists(st.integers(-1, 9)).map(tuple)
)
signatures = st.builds(
    Signature, st.lists(specs, max_size=2).map(tuple), st.lists(specs, max_size=2).map(tuple)
)


@st.composite
def profiles(draw):
    nodes = draw(st.lists(st.builds(NodeCost, names, names, figures, figures, st.just((0,))), max_size=4))
    count = max(0, len(nodes) - 1)
    boundary = st.builds(Boundary, figures, st.integers(0, 9), st.none() | names)
    boundaries = draw(st.lists(boundary, min_size=count, max_size=count))
    return GraphCosts(
        tuple(nodes), tuple(boundaries), draw(st.lists(figures).map(tuple)), (), draw(signatures)
    )


partitions = st.builds(
    Partition,
    index=st.integers(0, 9),
    start=figures,
    end=figures,
    files=st.lists(st.builds(ListedFile, names, names.map(Digest), figures), max_size=2).map(tuple),
    digest=names.map(Digest),
    inputs=st.lists(specs, max_size=2).map(tuple),
    outputs=st.lists(specs, max_size=2).map(tuple),
    live_out=st.lists(names, max_size=3).map(tuple),
    weight_bytes=figures,
)


@given(profiles())
def test_profiles_come_back(profile):
    """What the scheduler reads is what the worker measured."""
    assert GraphCosts.from_json(profile.to_json()) == profile


@given(st.lists(partitions, max_size=3))
def test_partitions_come_back(made):
    """So are the partitions."""
    assert partitions_from_json(partitions_to_json(made)) == made


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"format":3}', '{"format":2,"nodes":[[1]]}'])
def test_other_text_is_no_profile(text):
    """A damaged profile is data loss, not a crash."""
    with pytest.raises(CorruptData, match="not the costs of a graph"):
        GraphCosts.from_json(text)


@pytest.mark.parametrize("text", ["", "{", "3", "[1]", "[{}]", '{"a":1}'])
def test_other_text_is_no_list_of_partitions(text):
    """Nor are damaged partitions."""
    with pytest.raises(CorruptData, match="not a list of partitions"):
        partitions_from_json(text)


def test_a_profile_counts_its_boundaries():
    """A profile that does not fit together cannot be made."""
    with pytest.raises(ValueError, match="2 nodes have 0 boundaries"):
        GraphCosts((NodeCost("a", "A", 1, 1, ()),) * 2, (), (), (), Signature((), ()))
