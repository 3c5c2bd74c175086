"""Entries of replaced processes are removed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.stale_entries import without_stale_entries


def instance(id_, generation=1):
    return Instance(id_, "worker", f"{id_}:1", generation)


instances = st.builds(
    lambda id_, generation, port: Instance(id_, "worker", f"h:{port}", generation),
    st.sampled_from("abc"),
    st.integers(1, 4),
    st.integers(1, 3),
)


@given(st.lists(instances, max_size=8))
def test_without_stale_entries_keeps_the_newest_of_each_id_and_address(everyone):
    """Ids and addresses are unique, each id has its newest generation, and no other entry is removed."""
    left = without_stale_entries(everyone)
    assert list(left) == sorted(left)
    assert len({each.address for each in left.values()}) == len(left)
    for each in everyone:
        newest = max(other.generation for other in everyone if other.id == each.id)
        if each.id in left:
            assert left[each.id].generation == newest
        else:
            addresses = {other.address for other in everyone if other.id == each.id}
            assert any(other.address in addresses for other in left.values())
