"""Workers that are alike, and the links between them."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import Unavailable
from onnxmesh.ids import Digest, ModelName, StageKey, Version, WorkerId
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.live.link_topic import LinkCodec, SharedLink
from onnxmesh.live.shared_topic import SharedTopic
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.link import LinkSpec
from onnxmesh.v1.worker_pb2 import MeasuredLink
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.fleet.link_table import LinkTable
from services.scheduler.placement.placement import WorkerView
from services.scheduler.plans.survey import used_bytes
from services.scheduler.workers.holdings import Held, HoldingState
from services.scheduler.workers.memory import RESERVE_BYTES, memory_pool, stage_memory_bytes
from services.scheduler.workers.worker_kinds import MAX_KINDS, kind_label, kinds_of, label_of_kind

GB = 10**9


def worker(id_, kind="cpu-x86-1t", memory=None, flops=None, generation=1, **facts):
    """A worker that says what is given; the memory is what stages have of it."""
    attributes = {"device.kind": kind, "device": kind.partition("-")[0]} | facts
    if memory is not None:
        name = "memory.bytes" if attributes["device"] == "cpu" else "gpu.memory"
        attributes[name] = str(memory + RESERVE_BYTES)
    if flops is not None:
        speed = DeviceSpeed(flops_per_s=flops).to_plain()
        attributes |= {f"speed.{name}": str(figure) for name, figure in speed.items()}
    return Instance(id_, "worker", f"{id_}:1", generation, (), attributes)


def grouped(kinds):
    return {kind.device.name: [each.id for each in kind.workers] for kind in kinds}


def test_workers_of_equal_hardware_are_one_kind():
    """Device, threads and zone must be equal; memory only about."""
    kinds = kinds_of(
        [
            worker("a", memory=8 * GB),
            worker("b", memory=int(8.5 * GB)),
            worker("c", memory=16 * GB),
            worker("d", "cuda-NVIDIA-L4", memory=24 * GB),
            worker("e", memory=8 * GB, zone="north"),
            worker("f"),
        ],
        {},
    )
    assert grouped(kinds) == {
        "cpu-x86-1t 8.0 GB": ["a", "b"],
        "cpu-x86-1t 16 GB": ["c"],
        "cuda-NVIDIA-L4 24 GB": ["d"],
        "north/cpu-x86-1t 8.0 GB": ["e"],
        "cpu-x86-1t": ["f"],
    }
    assert [kind.device.memory_bytes for kind in kinds if kind.device.count == 2] == [8 * GB]
    assert {kind.device.profile for kind in kinds} == {"cpu-x86-1t", "cuda-NVIDIA-L4"}


def test_a_kind_is_as_fast_as_its_median_worker():
    """One that does not say, or says nonsense, does not count; where nobody says, the defaults stand."""
    fast = [worker(id_, flops=flops) for id_, flops in [("a", 1e9), ("b", 3e9), ("c", 9e9)]]
    odd = [worker("d"), worker("e", **{"speed.flops_per_s": "many"}), worker("f", flops=-1.0 + 1e9)]
    odd[2].attributes["speed.flops_per_s"] = "nan"
    (kind,) = kinds_of([*fast, *odd], {})
    assert kind.device.speed == DeviceSpeed(flops_per_s=3e9)
    (unknown,) = kinds_of([worker("a")], {})
    assert unknown.device.speed == DeviceSpeed()


def test_what_other_models_take_is_not_there():
    """Workers of one host share its memory; alike ones of which one is full become two kinds of one label."""
    workers = [worker("a", memory=8 * GB), worker("b", memory=8 * GB)]
    kinds = kinds_of(workers, {memory_pool("b", workers[1].attributes): 6 * GB})
    assert grouped(kinds) == {"cpu-x86-1t 8.0 GB": ["b"], "cpu-x86-1t 8.0 GB #2": ["a"]}
    assert {kind.device.memory_bytes for kind in kinds} == {2 * GB, 8 * GB}
    assert {label_of_kind(kind.device.name) for kind in kinds} == {kind_label(workers[0].attributes)}
    together = [worker("a", memory=8 * GB, host="h"), worker("b", memory=8 * GB, host="h")]
    (shared,) = kinds_of(together, {memory_pool("a", together[0].attributes): 6 * GB})
    assert (shared.device.count, shared.device.memory_bytes) == (2, 2 * GB)


def test_memory_for_stages_leaves_room_for_the_process():
    """On a GPU it is the GPU's; of a worker that does not say nothing is known."""
    assert stage_memory_bytes(worker("a", memory=5).attributes) == 5
    assert stage_memory_bytes(worker("a", "cuda-x", memory=7).attributes) == 7
    assert stage_memory_bytes({"memory.bytes": "1"}) == 0
    assert stage_memory_bytes({}) is None


def test_stages_take_memory_where_they_are_held():
    """Those on their way out, or failed, take none; nor do stages that are not asked about."""
    stages = [
        DesiredStage(StageKey(f"m/1/{i}"), (ModelName("m"), Version(1)), Digest("d"), peak_bytes=10**i)
        for i in range(3)
    ]
    states = [HoldingState.READY, HoldingState.LOADING, HoldingState.EVICTING]
    held = {stage.key: Held(state, Digest("d")) for stage, state in zip(stages, states, strict=True)}
    ghost = {StageKey("n/1/0"): Held(HoldingState.READY, Digest("d"))}
    views = [WorkerView(WorkerId("a"), stages=held | ghost), WorkerView(WorkerId("b"), stages=held)]
    assert used_bytes(stages, views) == {"worker/a": 11, "worker/b": 11}


@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.integers(1, 64), st.floats(1e9, 1e12), st.sampled_from("ab")),
        min_size=1,
        max_size=24,
    )
)
def test_kinds_are_few_and_hold_every_worker_once(facts):
    """Whatever the workers are; the order in which they are told does not matter."""
    workers = [
        worker(f"w{index:02}", f"cpu-{kind}-1t", memory * GB, flops, zone=zone)
        for index, (kind, memory, flops, zone) in enumerate(facts)
    ]
    kinds = kinds_of(workers, {})
    assert 1 <= len(kinds) <= MAX_KINDS
    assert len({kind.device.name for kind in kinds}) == len(kinds)
    assert sorted(each.id for kind in kinds for each in kind.workers) == [each.id for each in workers]
    for kind in kinds:
        assert kind.device.count == len(kind.workers)
        assert kind.device.memory_bytes == min(stage_memory_bytes(each.attributes) for each in kind.workers)
    assert kinds_of(workers[::-1], {}) == kinds


def test_the_most_alike_kinds_are_merged_and_zones_last():
    """Ten sizes of memory in one zone and one in another: the other zone stays apart."""
    workers = [worker(f"w{i}", memory=2**i * GB) for i in range(10)] + [worker("z", memory=GB, zone="far")]
    kinds = kinds_of(workers, {})
    assert len(kinds) == MAX_KINDS
    assert ["z"] in [[each.id for each in kind.workers] for kind in kinds]


class Measurements:
    """Answers as told, and keeps what was asked."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []
        self.hang = set()

    async def __call__(self, source, addresses):
        self.asked.append((source.id, *addresses))
        if source.id in self.hang:
            await asyncio.Event().wait()
        if source.id not in self.answers:
            raise Unavailable("gone")
        return [MeasuredLink(latency_s=0.5, bytes_per_s=self.answers[source.id]) for _ in addresses]


def three_workers(generation=1):
    return [worker("a"), worker("b", generation=generation), worker("c", "cpu-y-1t")]


async def test_one_pair_stands_for_two_kinds_and_two_workers_for_one():
    """Each direction is measured; of a kind with one worker there is nothing within."""
    measure = Measurements({"a": 1e9, "c": 2e9})
    links = await LinkTable(measure).links(kinds_of(three_workers(), {}))
    assert sorted(measure.asked) == [("a", "b:1", "c:1"), ("c", "a:1")]
    assert links == {
        ("cpu-x86-1t", "cpu-x86-1t"): LinkSpec(1e9, 0.5),
        ("cpu-x86-1t", "cpu-y-1t"): LinkSpec(1e9, 0.5),
        ("cpu-y-1t", "cpu-x86-1t"): LinkSpec(2e9, 0.5),
    }


async def test_what_is_known_is_not_measured_again_before_its_time_or_a_restart():
    """A new generation of a worker is another process; old figures end."""
    measure, now = Measurements({"a": 1e9, "c": 1e9}), [0.0]
    table = LinkTable(measure, fresh_s=100.0, clock=lambda: now[0])
    for _ in range(2):
        await table.links(kinds_of(three_workers(), {}))
    assert len(measure.asked) == 2
    await table.links(kinds_of(three_workers(generation=2), {}))
    assert measure.asked[2:] == [("a", "b:1")]
    now[0] = 100.0
    await table.links(kinds_of(three_workers(), {}))
    assert sorted(measure.asked[3:]) == sorted(measure.asked[:2])


@pytest.mark.parametrize("figure", [0.0, -1.0, float("nan"), float("inf")])
async def test_what_cannot_be_measured_is_left_out_and_not_asked_again(figure):
    """A worker that cannot be reached, or that says nonsense, leaves the default link."""
    measure = Measurements({"a": figure, "c": 1e9})
    table = LinkTable(measure)
    for _ in range(2):
        links = await table.links(kinds_of(three_workers(), {}))
        assert links == {("cpu-y-1t", "cpu-x86-1t"): LinkSpec(1e9, 0.5)}
    assert len(measure.asked) == 2


async def test_a_plan_does_not_wait_for_a_worker_that_hangs_or_fails():
    """What the others measured counts all the same."""
    measure = Measurements({"c": 1e9})
    measure.hang = {"a"}
    links = await LinkTable(measure, wait_s=0.05).links(kinds_of(three_workers(), {}))
    assert links == {("cpu-y-1t", "cpu-x86-1t"): LinkSpec(1e9, 0.5)}
    measure.hang = set()
    assert await LinkTable(measure).links(kinds_of(three_workers(), {})) == links


async def test_what_others_have_measured_is_not_measured_again():
    """A gateway's or another scheduler's figure counts while it is fresh and of the same processes; what is
    measured here, others hear."""
    measure, now = Measurements({"a": 1e9, "c": 2e9}), [0.0]
    live = EmbeddedLiveState("s", clock=lambda: now[0])
    shared = SharedTopic(live, LinkCodec())
    shared.publish(SharedLink("c", "a", 1, 1, 0.02, 5e8), 1000.0)
    table = LinkTable(measure, live=live, fresh_s=100.0, clock=lambda: now[0])
    links = await table.links(kinds_of(three_workers(), {}))
    assert measure.asked == [("a", "b:1", "c:1")]
    assert links["cpu-y-1t", "cpu-x86-1t"] == LinkSpec(5e8, 0.01)
    assert shared.received()["a>c"][0].item == SharedLink("a", "c", 1, 1, 1.0, 1e9)
    again = Measurements({})
    assert await LinkTable(again, live=live).links(kinds_of(three_workers(), {})) == links
    assert not again.asked
    now[0] = 100.0
    await table.links(kinds_of(three_workers(), {}))
    assert ("c", "a:1") in measure.asked
