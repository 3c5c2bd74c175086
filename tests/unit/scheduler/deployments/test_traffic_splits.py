"""Traffic splits are saved before they are in force."""

from __future__ import annotations

import pytest

from onnxmesh.errors import Overloaded
from onnxmesh.state.traffic_split import TrafficSplit
from services.scheduler.deployments.traffic_splits import TrafficSplits


class Store:
    """Splits by name; fails once where a test sets `fails`."""

    def __init__(self, *splits):
        self.rows = {split.name: split for split in splits}
        self.fails = False

    async def splits(self):
        return list(self.rows.values())

    async def save_split(self, split):
        self.rows[split.name] = split
        if self.fails:
            self.fails = False
            raise Overloaded("the disk is full")

    async def delete_split(self, name):
        self.rows.pop(name, None)


async def test_traffic_splits_are_restored_without_undeployed_versions():
    store = Store(TrafficSplit("m", {1: 50, 2: 25, 3: 25}), TrafficSplit("n", {1: 10, 2: 90}))
    splits = TrafficSplits(store, {"m": [1, 2], "n": [2]}.__getitem__)
    await splits.restore()
    assert splits.shares() == {("m", 1): 67, ("m", 2): 33}
    assert splits.percents("n") == {}
    assert list(store.rows) == ["m"]


async def test_traffic_splits_that_cannot_be_saved_change_nothing():
    """Neither in memory nor, once the store works again, there."""
    store = Store()
    splits = TrafficSplits(store, lambda name: [1, 2])
    await splits.roll_out("m", 2, 10)
    before = store.rows["m"]
    store.fails = True
    with pytest.raises(Overloaded):
        await splits.roll_out("m", 2, 60)
    assert splits.percents("m") == {1: 90, 2: 10}
    assert store.rows["m"] == before


async def test_traffic_splits_are_undone_unless_they_changed_again():
    splits = TrafficSplits(Store(), lambda name: [1, 2])
    first = await splits.roll_out("m", 2, 10)
    second = await splits.roll_out("m", 2, 20)
    await splits.undo(first, None)
    assert splits.percents("m") == {1: 80, 2: 20}
    await splits.undo(second, first)
    assert splits.percents("m") == {1: 90, 2: 10}
    await splits.undo(first, None)
    assert splits.percents("m") == {}
