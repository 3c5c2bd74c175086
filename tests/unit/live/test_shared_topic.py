"""One topic of live state as typed items."""

from __future__ import annotations

import operator

from onnxmesh.live.base import LiveEntry, Topic
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.live.load_topic import LoadCodec, WorkerLoad
from onnxmesh.live.shared_topic import SharedTopic
from onnxmesh.v1.frame_pb2 import Load
from tests.fakes.clock import Clock


class Store:
    """Live state with entries of other processes beside its own."""

    def __init__(self, *others):
        self.clock = Clock(100.0)
        self.own = EmbeddedLiveState("me", clock=self.clock)
        self.publish, self.withdraw = self.own.publish, self.own.withdraw
        self.others = others

    def entries(self, topic):
        found = dict(self.own.entries(topic))
        for entry in self.others:
            found[entry.key] = (*found.get(entry.key, ()), entry)
        return found


def load(worker, queued):
    return WorkerLoad(worker, Load(queued=queued))


def published(topic):
    return {
        key: [(each.item.load.queued, each.writer, each.age_s) for each in items]
        for key, items in topic.received().items()
    }


def test_received_returns_items_of_all_processes_with_their_age():
    """A published item replaces the one of its key; a withdrawn one disappears."""
    store = Store(LiveEntry("other", "w", 1.0, {"queued": 5}))
    topic = SharedTopic(store, LoadCodec())
    topic.publish(load("w", 1), 60.0)
    topic.publish(load("w", 2), 60.0)
    topic.publish(load("v", 3), 2.0)
    store.clock.now_s += 0.5
    assert published(topic) == {"w": [(2, "me", 0.5), (5, "other", 1.0)], "v": [(3, "me", 0.5)]}
    topic.withdraw(load("w", 2))
    store.clock.now_s += 2.0
    assert published(topic) == {"w": [(5, "other", 1.0)]}


def test_received_leaves_out_items_that_are_not_accepted():
    """A key without any item does not appear."""
    store = Store(LiveEntry("other", "w", 1.0, {"queued": 5}), LiveEntry("other", "v", 1.0, {"queued": 6}))
    topic = SharedTopic(store, LoadCodec(), lambda item: item.load.queued > 5)
    assert published(topic) == {"v": [(6, "other", 1.0)]}


def test_publish_offered_omits_what_some_process_has_published_alike_and_recently():
    """Changed items, and those whose last publication is old, are published; each is offered once."""
    store = Store(
        *(LiveEntry("other", key, age_s, {"queued": 5}) for key, age_s in (("w", 1.0), ("old", 20.0)))
    )
    topic = SharedTopic(store, LoadCodec())
    for worker, queued in (("w", 5), ("old", 5), ("new", 1)):
        topic.offer(load(worker, 9))
        topic.offer(load(worker, queued))
    topic.publish_offered(60.0, 20.0, operator.eq)
    assert set(store.own.entries(Topic.LOAD)) == {"old", "new"}
    topic.offer(load("w", 6))
    topic.publish_offered(60.0, 20.0, operator.eq)
    assert published(topic)["w"] == [(6, "me", 0.0), (5, "other", 1.0)]
    store.own.withdraw(Topic.LOAD, "new")
    topic.publish_offered(60.0, 20.0, operator.eq)
    assert "new" not in store.own.entries(Topic.LOAD)
