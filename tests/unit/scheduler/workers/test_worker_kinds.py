"""Which workers a planner treats as alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.discovery.instance import Instance
from onnxmesh.model.device_speed import DeviceSpeed
from services.scheduler.workers.memory import RESERVE_BYTES, memory_pool, stage_memory_bytes
from services.scheduler.workers.worker_kinds import MAX_KINDS, kind_label, kinds_of, label_of_kind

GB = 10**9


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


def grouped(kinds):
    return {kind.device.name: [each.id for each in kind.workers] for kind in kinds}


def test_kinds_of_workers_with_equal_hardware_are_one():
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


def test_kinds_are_as_fast_as_their_median_worker():
    """A worker without a valid speed does not count; where there is none, defaults apply."""
    fast = [worker(id_, flops=flops) for id_, flops in [("a", 1e9), ("b", 3e9), ("c", 9e9)]]
    odd = [worker("d"), worker("e", **{"speed.flops_per_s": "many"}), worker("f", flops=-1.0 + 1e9)]
    odd[2].attributes["speed.flops_per_s"] = "nan"
    (kind,) = kinds_of([*fast, *odd], {})
    assert kind.device.speed == DeviceSpeed(flops_per_s=3e9)
    (unknown,) = kinds_of([worker("a")], {})
    assert unknown.device.speed == DeviceSpeed()


def test_kinds_have_the_memory_that_other_models_leave():
    """Workers of one host share its memory; alike ones of which one is full become two kinds of one label."""
    workers = [worker("a", memory=8 * GB), worker("b", memory=8 * GB)]
    kinds = kinds_of(workers, {memory_pool("b", workers[1].attributes): 6 * GB})
    assert grouped(kinds) == {"cpu-x86-1t 8.0 GB": ["b"], "cpu-x86-1t 8.0 GB #2": ["a"]}
    assert {kind.device.memory_bytes for kind in kinds} == {2 * GB, 8 * GB}
    assert {label_of_kind(kind.device.name) for kind in kinds} == {kind_label(workers[0].attributes)}
    together = [worker("a", memory=8 * GB, host="h"), worker("b", memory=8 * GB, host="h")]
    (shared,) = kinds_of(together, {memory_pool("a", together[0].attributes): 6 * GB})
    assert (shared.device.count, shared.device.memory_bytes) == (2, 2 * GB)


@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.integers(1, 64), st.floats(1e9, 1e12), st.sampled_from("ab")),
        min_size=1,
        max_size=24,
    )
)
def test_kinds_are_few_and_hold_every_worker_once(facts):
    """For any workers, in any order."""
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


def test_kinds_that_are_most_alike_are_merged_and_zones_last():
    """Ten sizes of memory in one zone and one in another: the other zone stays apart."""
    workers = [worker(f"w{i}", memory=2**i * GB) for i in range(10)] + [worker("z", memory=GB, zone="far")]
    kinds = kinds_of(workers, {})
    assert len(kinds) == MAX_KINDS
    assert ["z"] in [[each.id for each in kind.workers] for kind in kinds]
