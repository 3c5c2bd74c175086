"""Whom to believe in when a registry comes and goes, on a clock that the tests set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.settled_view import SettledView
from onnxmesh.discovery.stale_entries import without_stale_entries


def instance(id_, generation=1):
    return Instance(id_, "worker", f"{id_}:1", generation)


A, B = instance("a"), instance("b")


def test_joins_and_orderly_leaves_are_believed_at_once():
    view = SettledView(1.0, 5.0)
    view.observe({"a": A, "b": B}, {}, 0.0)
    assert dict(view.instances) == {"a": A, "b": B}
    view.observe({"b": B}, {}, 0.1)
    assert dict(view.instances) == {"b": B}
    assert not view.unsettled


def test_one_failed_check_is_no_death_and_two_are():
    view = SettledView(1.0, 5.0)
    view.observe({"a": A}, {}, 0.0)
    view.observe({}, {"a": A}, 1.0)
    assert "a" in view.instances
    assert view.unsettled
    view.observe({"a": A}, {}, 1.5)
    assert not view.unsettled
    view.observe({}, {"a": A}, 3.0)
    view.observe({}, {"a": A}, 3.9)
    assert "a" in view.instances
    view.observe({}, {"a": A}, 4.0)
    assert not view.instances


def test_who_was_never_healthy_is_never_seen():
    view = SettledView(1.0, 5.0)
    view.observe({}, {"a": A}, 0.0)
    assert not view.instances


def test_a_newer_generation_that_fails_does_not_speak_for_the_older():
    view = SettledView(1.0, 5.0)
    view.observe({"a": A}, {}, 0.0)
    view.observe({}, {"a": instance("a", 2)}, 0.1)
    assert not view.instances


def test_after_an_outage_nobody_is_dropped_until_the_registry_has_settled():
    """A registry that forgot everyone gets them back one by one; who does not come back goes in the end."""
    view = SettledView(1.0, 5.0)
    view.observe({"a": A, "b": B}, {}, 0.0)
    view.mark_stale()
    assert view.stale
    assert dict(view.instances) == {"a": A, "b": B}
    view.observe({}, {}, 60.0)
    assert not view.stale
    assert dict(view.instances) == {"a": A, "b": B}
    newer = instance("a", 2)
    view.observe({"a": newer}, {"b": B}, 62.0)
    assert dict(view.instances) == {"a": newer, "b": B}
    view.observe({"a": newer}, {}, 65.0)
    assert dict(view.instances) == {"a": newer}


instances = st.builds(
    lambda id_, generation, port: Instance(id_, "worker", f"h:{port}", generation),
    st.sampled_from("abc"),
    st.integers(1, 4),
    st.integers(1, 3),
)


@given(st.lists(instances, max_size=8))
def test_no_ghost_is_ever_left(everyone):
    """Ids and addresses are unique, each id stands in its newest generation, and nobody is lost without cause."""
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
