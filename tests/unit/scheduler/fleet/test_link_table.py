"""Links are measured when a plan needs them, once."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import Unavailable
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.live.link_topic import LinkCodec, SharedLink
from onnxmesh.live.shared_topic import SharedTopic
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.link import LinkSpec
from onnxmesh.v1.worker_pb2 import MeasuredLink
from services.scheduler.fleet.link_table import LinkTable
from services.scheduler.workers.memory import RESERVE_BYTES
from services.scheduler.workers.worker_kinds import kinds_of


def worker(id_, kind="cpu-x86-1t", memory=None, flops=None, generation=1, **facts):
    """A worker that reports the given facts; the memory is what stages have of it."""
    attributes = {"device.kind": kind, "device": kind.partition("-")[0]} | facts
    if memory is not None:
        name = "memory.bytes" if attributes["device"] == "cpu" else "gpu.memory"
        attributes[name] = str(memory + RESERVE_BYTES)
    if flops is not None:
        speed = DeviceSpeed(flops_per_s=flops).to_plain()
        attributes |= {f"speed.{name}": str(figure) for name, figure in speed.items()}
    return Instance(id_, "worker", f"{id_}:1", generation, (), attributes)


class Measurements:
    """Answers with fixed measurements, and records the queries."""

    def __init__(self, answers):
        self.answers = answers
        self.calls = []
        self.hang = set()

    async def __call__(self, source, addresses):
        self.calls.append((source.id, *addresses))
        if source.id in self.hang:
            await asyncio.Event().wait()
        if source.id not in self.answers:
            raise Unavailable("lost")
        return [MeasuredLink(latency_s=0.5, bytes_per_s=self.answers[source.id]) for _ in addresses]


def three_workers(generation=1):
    return [worker("a"), worker("b", generation=generation), worker("c", "cpu-y-1t")]


async def test_link_table_measures_one_pair_for_two_kinds_and_two_workers_for_one():
    """Each direction is measured; of a kind with one worker there is nothing within."""
    measure = Measurements({"a": 1e9, "c": 2e9})
    links = await LinkTable(measure).links(kinds_of(three_workers(), {}))
    assert sorted(measure.calls) == [("a", "b:1", "c:1"), ("c", "a:1")]
    assert links == {
        ("cpu-x86-1t", "cpu-x86-1t"): LinkSpec(1e9, 0.5),
        ("cpu-x86-1t", "cpu-y-1t"): LinkSpec(1e9, 0.5),
        ("cpu-y-1t", "cpu-x86-1t"): LinkSpec(2e9, 0.5),
    }


async def test_link_table_measures_again_after_its_time_or_a_restart():
    """A new generation of a worker is another process; old figures end."""
    measure, now = Measurements({"a": 1e9, "c": 1e9}), [0.0]
    table = LinkTable(measure, fresh_s=100.0, clock=lambda: now[0])
    for _ in range(2):
        await table.links(kinds_of(three_workers(), {}))
    assert len(measure.calls) == 2
    await table.links(kinds_of(three_workers(generation=2), {}))
    assert measure.calls[2:] == [("a", "b:1")]
    now[0] = 100.0
    await table.links(kinds_of(three_workers(), {}))
    assert sorted(measure.calls[3:]) == sorted(measure.calls[:2])


@pytest.mark.parametrize("figure", [0.0, -1.0, float("nan"), float("inf")])
async def test_link_table_leaves_out_what_cannot_be_measured_and_does_not_try_again(figure):
    """A worker that cannot be reached, or that reports invalid figures, leaves the default link."""
    measure = Measurements({"a": figure, "c": 1e9})
    table = LinkTable(measure)
    for _ in range(2):
        links = await table.links(kinds_of(three_workers(), {}))
        assert links == {("cpu-y-1t", "cpu-x86-1t"): LinkSpec(1e9, 0.5)}
    assert len(measure.calls) == 2


async def test_link_table_does_not_wait_for_a_worker_that_hangs_or_fails():
    """What the others measured counts all the same."""
    measure = Measurements({"c": 1e9})
    measure.hang = {"a"}
    links = await LinkTable(measure, wait_s=0.05).links(kinds_of(three_workers(), {}))
    assert links == {("cpu-y-1t", "cpu-x86-1t"): LinkSpec(1e9, 0.5)}
    measure.hang = set()
    assert await LinkTable(measure).links(kinds_of(three_workers(), {})) == links


async def test_link_table_does_not_measure_what_others_have_measured():
    """A gateway's or another scheduler's figure counts while it is fresh and of the same processes; what is
    measured here is published to others."""
    measure, now = Measurements({"a": 1e9, "c": 2e9}), [0.0]
    live = EmbeddedLiveState("s", clock=lambda: now[0])
    shared = SharedTopic(live, LinkCodec())
    shared.publish(SharedLink("c", "a", 1, 1, 0.02, 5e8), 1000.0)
    table = LinkTable(measure, live=live, fresh_s=100.0, clock=lambda: now[0])
    links = await table.links(kinds_of(three_workers(), {}))
    assert measure.calls == [("a", "b:1", "c:1")]
    assert links["cpu-y-1t", "cpu-x86-1t"] == LinkSpec(5e8, 0.01)
    assert shared.received()["a>c"][0].item == SharedLink("a", "c", 1, 1, 1.0, 1e9)
    again = Measurements({})
    assert await LinkTable(again, live=live).links(kinds_of(three_workers(), {})) == links
    assert not again.calls
    now[0] = 100.0
    await table.links(kinds_of(three_workers(), {}))
    assert ("c", "a:1") in measure.calls
