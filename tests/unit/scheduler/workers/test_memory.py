"""Memory of workers for stages."""

from __future__ import annotations

from itertools import permutations

import pytest

from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import ModelName, StageKey, Version
from onnxmesh.model.device_speed import DeviceSpeed
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.placement import decide_placement
from services.scheduler.workers.memory import RESERVE_BYTES, MemoryBook, stage_memory_bytes
from tests.unit.scheduler.placement_tables import at_rest, commands, num_held, stages, view


@pytest.mark.parametrize("sizes", sorted(set(permutations((500, 500, 1000)))))
def test_memory_is_filled_in_any_order(sizes):
    """Memory (500, 500, 1000) holds stages of (500, 500, 1000), and four of 500 as (1, 1, 2), in any order of workers."""
    workers = [view(name, memory=size) for name, size in zip("abc", sizes, strict=True)]
    uneven = [
        DesiredStage(StageKey(f"m/1/{index}"), (ModelName("m"), Version(1)), f"m/1/{index}", peak_bytes=size)
        for index, size in enumerate((500, 500, 1000))
    ]
    placement = decide_placement(uneven, workers, 0.0)
    assert len(placement.place) == 3
    assert not placement.lacking_bytes
    even, _ = at_rest(stages("n", 4, peak_bytes=500), workers)
    assert [num_held(even)[name] for name in "abc"] == [size // 500 for size in sizes]


def test_memory_book_knows_what_each_worker_lacks():
    """Workers of one host share it; one that reports none counts as unlimited."""
    workers = [
        view("a", memory=10, facts={"host": "h"}),
        view("b", memory=10, facts={"host": "h"}),
        view("c"),
    ]
    book = MemoryBook((each.id, each.attributes) for each in workers)
    book.take(0, 6)
    assert book.lacks(5).tolist() == [1, 1, 0]


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


def test_stage_memory_excludes_the_reserve_of_the_process():
    """On a GPU it is the GPU's; of a worker that does not say nothing is known."""
    assert stage_memory_bytes(worker("a", memory=5).attributes) == 5
    assert stage_memory_bytes(worker("a", "cuda-x", memory=7).attributes) == 7
    assert stage_memory_bytes({"memory.bytes": "1"}) == 0
    assert stage_memory_bytes({}) is None


def test_memory_of_a_host_is_shared_by_its_workers():
    """What one holds, the other has not."""
    workers = [view(name, memory=15, facts={"host": "h"}) for name in "ab"]
    placement = decide_placement(stages("m", 2, peak_bytes=10), workers, 0.0)
    assert commands(placement) == ["a+m/1/0"]
    assert placement.lacking_bytes == {"m/1/1": 5}
