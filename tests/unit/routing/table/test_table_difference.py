"""Changes lead to the same table as the whole, and differences name what changed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given

from onnxmesh.routing.table.table import EMPTY_TABLE, RoutingTable
from onnxmesh.routing.table.table_difference import difference
from onnxmesh.v1.mesh_pb2 import ModelVersion, RouteChange, RoutedWorker, RouteTable
from tests.fakes.route_changes import change_between
from tests.fakes.route_tables import tables
from tests.fakes.routed_models import routed_model


def content(table):
    """Everything that a table contains."""
    return (
        table.epoch,
        dict(table.models),
        {name: table.versions(name) for name in table.names},
        dict(table.workers),
    )


@given(tables())
def test_apply_gives_the_same_table_as_the_whole_message(sequence):
    """After each of them: models, versions, workers, and what each worker reports of itself at each replica."""
    held = RoutingTable.from_proto(sequence[0])
    for before, after in pairwise(sequence):
        held = held.apply(change_between(before, after))
        assert content(held) == content(RoutingTable.from_proto(after))


@given(tables(max_size=2))
def test_difference_of_a_change_is_that_of_the_whole_tables(sequence):
    """Looking only at what a change names finds every difference; nothing unchanged is reported."""
    before, after = (RoutingTable.from_proto(each) for each in sequence)
    change = change_between(*sequence)
    applied = before.apply(change)
    found = difference(before, applied, change)
    stages = [
        {stage.key for each in table.models.values() for stage in each.stages} for table in (before, after)
    ]
    assert found.removed_stages == stages[0] - stages[1]
    assert found.removed_workers == before.workers.keys() - after.workers.keys()
    assert found.removed_models == before.models.keys() - after.models.keys()
    assert found.workers == {
        worker: now
        for worker, now in after.workers.items()
        if now.address
        and (
            (was := before.workers.get(worker)) is None
            or (was.address, was.generation) != (now.address, now.generation)
        )
    }
    changed = {key for key, each in after.models.items() if before.models.get(key) != each}
    with_new_facts = {key for key in changed if key not in found.models}
    assert found.models == (changed - with_new_facts) | found.removed_models
    for key in with_new_facts:  # the same stages and replicas: only the facts of their workers differ
        assert [stage.key for stage in before.models[key].stages] == [
            stage.key for stage in after.models[key].stages
        ]
    whole = difference(before, after)
    assert (whole.removed_stages, whole.removed_workers, whole.workers) == (
        found.removed_stages,
        found.removed_workers,
        found.workers,
    )
    assert whole.models >= found.models


def test_apply_shares_unchanged_models():
    """Models and workers are the same objects in both tables."""
    models = [routed_model([[("a", "a:1")]], name=name) for name in ("m", "n")]
    before = RoutingTable.from_proto(RouteTable(epoch=1, models=models, workers=[RoutedWorker(worker="b")]))
    change = RouteChange(from_epoch=1, epoch=2, models=[routed_model([[("c", "c:1")]], name="m")])
    after = before.apply(change)
    assert after.models["n", 1] is before.models["n", 1]
    assert after.workers["b"] is before.workers["b"]
    assert before.models["m", 1].stages[0].replicas[0].worker == "a"


def test_difference_ignores_a_worker_without_replicas():
    """It is still there, is not dialled, and is removed when the table lists it no longer."""
    listed = [RoutedWorker(worker="a")]
    before = RoutingTable.from_proto(
        RouteTable(epoch=1, models=[routed_model([[("a", "a:1")]])], workers=listed)
    )
    change = RouteChange(from_epoch=1, epoch=2, models=[routed_model([[("b", "b:1")]])])
    after = before.apply(change)
    assert after.workers["a"].address == ""
    news = difference(before, after, change)
    assert (set(news.workers), set(news.removed_workers)) == ({"b"}, set())
    last = RouteChange(from_epoch=2, epoch=3, removed_workers=["a"])
    assert difference(after, after.apply(last), last).removed_workers == {"a"}


def test_apply_refuses_an_unknown_datatype():
    """The table that it would have changed is as it was."""
    held = RoutingTable.from_proto(RouteTable(epoch=1, models=[routed_model([[("a", "a:1")]])]))
    change = RouteChange(
        from_epoch=1, epoch=2, models=[routed_model([[("a", "a:1")]], inputs=(("x", "FP12", [1]),))]
    )
    with pytest.raises(ValueError, match="FP12"):
        held.apply(change)
    assert held.models["m", 1].inputs[0].datatype == "FP32"


def test_apply_ignores_the_removal_of_unknown_models():
    """A change may say more than is known."""
    change = RouteChange(epoch=1, removed_models=[ModelVersion(name="m", version=1)], removed_workers=["a"])
    assert content(EMPTY_TABLE.apply(change)) == (1, {}, {}, {})
