"""The leader's route table and its watchers."""

from __future__ import annotations

from onnxmesh.v1.mesh_pb2 import RoutedModel, RoutedWorker
from services.scheduler.publishing.publisher import Publisher


async def test_publisher_counts_changes_and_sends_slow_watchers_one_change():
    publisher = Publisher(100)
    watching = publisher.watch()
    publisher.publish({}, {})
    publisher.publish({}, {})
    first = await anext(watching)
    assert first.whole.epoch == 101
    m, n = RoutedModel(name="m"), RoutedModel(name="n")
    publisher.publish({("m", 0): m}, {})
    publisher.publish({("m", 0): m, ("n", 0): n}, {})
    publisher.publish({("n", 0): n}, {"w": RoutedWorker(worker="w")})
    update = await anext(watching)
    assert (update.change.from_epoch, update.change.epoch) == (101, 104)
    assert [each.name for each in update.change.models] == ["n"]
    assert [each.worker for each in update.change.workers] == ["w"]
    assert not update.change.removed_models  # it came and went in between
    assert (await anext(publisher.watch())).whole.epoch == 104
