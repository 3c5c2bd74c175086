"""Joins count at once, losses once they are confirmed."""

from __future__ import annotations

from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.settled_view import SettledView


def instance(id_, generation=1):
    return Instance(id_, "worker", f"{id_}:1", generation)


A, B = instance("a"), instance("b")


def test_settled_view_shows_joins_and_deregistrations_at_once():
    view = SettledView(1.0, 5.0)
    view.observe({"a": A, "b": B}, {}, 0.0)
    assert dict(view.instances) == {"a": A, "b": B}
    view.observe({"b": B}, {}, 0.1)
    assert dict(view.instances) == {"b": B}
    assert not view.unsettled


def test_settled_view_removes_an_instance_after_a_confirmed_failure():
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


def test_settled_view_never_shows_an_instance_that_was_never_healthy():
    view = SettledView(1.0, 5.0)
    view.observe({}, {"a": A}, 0.0)
    assert not view.instances


def test_settled_view_ignores_failures_of_another_generation():
    view = SettledView(1.0, 5.0)
    view.observe({"a": A}, {}, 0.0)
    view.observe({}, {"a": instance("a", 2)}, 0.1)
    assert not view.instances


def test_settled_view_removes_no_instance_right_after_an_outage():
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
