"""Shared memory between processes of one host: outputs are computed in it, and it is always released."""

from __future__ import annotations

import asyncio
import gc
import signal
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from onnxmesh.memory.shared_memory import OwnMemory
from tests.eventually import eventually
from tests.integration.worker.stage_models import model, slow, value, wide
from tests.integration.worker.worker_process import worker_process

MEGABYTE = 1 << 20


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rows():
    """Two elementwise nodes over rows of 256 KiB."""
    nodes = [helper.make_node("Neg", ["x"], ["h"]), helper.make_node("Abs", ["h"], ["y"])]
    return model(nodes, [value("x", ["N", 65536])], [value("y", ["N", 65536])])


def memories():
    """Returns what of this process's shared memory is open."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, OwnMemory) and not each._closed]


def used_bytes():
    return sum(each.used_bytes for each in memories())


@pytest.fixture
def copies(monkeypatch):
    """Collects the sizes of what is copied into shared memory."""
    made = []
    put, bring = OwnMemory.write, OwnMemory.copy_in

    def counting_put(self, payload):
        made.append(len(payload))
        return put(self, payload)

    def counting_bring(self, payload):
        if not self.contains(payload):
            made.append(len(payload))
        return bring(self, payload)

    monkeypatch.setattr(OwnMemory, "write", counting_put)
    monkeypatch.setattr(OwnMemory, "copy_in", counting_bring)
    return made


async def test_shared_memory_receives_outputs_without_a_copy(bench, copies):
    """Once it is known how large it is, it is computed where the next worker, or the gateway, reads it; its bits are the same."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(wide(), [1], first, second)
    gateway = await bench.gateway()
    for index in range(4):
        copies.clear()
        x = normal(MEGABYTE, seed=index)
        answer = await gateway.answer(await gateway.send(route, {"x": x}))
        assert np.array_equal(answer["y"].view(np.uint32), np.abs(x).view(np.uint32))
        # Of the first requests what the stages computed, too; after that only what the gateway sends.
        assert copies == [4 * MEGABYTE] * len(copies)
        assert len(copies) == 1 or index < 2
        # The gateway still has its answer.
        assert used_bytes() >= 4 * MEGABYTE
        del answer
        gateway.results.clear()
    await eventually(lambda: used_bytes() == 0)


async def test_shared_memory_receives_rows_of_a_batch_without_a_copy(bench, copies):
    """Each is sent as a part of the batch's output, to the next worker and to its gateway."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = []
    for index, (partition, worker) in enumerate(
        zip(bench.partitions(rows(), [1]), (first, second), strict=True)
    ):
        partition.batching.max_rows = 8
        await bench.place(worker, f"m/1/{index}", partition)
        route.append(worker.hop(f"m/1/{index}"))
    gateway = await bench.gateway()
    together = 1
    for index in range(100):
        sent = {}
        for seed in range(8):
            x = normal(1, 65536, seed=100 * index + seed)
            sent[await gateway.send(route, {"x": x})] = x
        for number, x in sent.items():
            assert np.array_equal((await gateway.answer(number))["y"], np.abs(x))
            timings = gateway.results[number].header.result.timings
            together = max(together, *(timing.batch for timing in timings))
        gateway.results.clear()
        if index > 5 and together > 1:
            break
    assert together > 1
    await eventually(lambda: used_bytes() == 0)


async def test_shared_memory_that_is_full_falls_back_to_the_stream(bench, monkeypatch):
    """Tensors larger than the memory, and more of them than fit, arrive whole."""
    monkeypatch.setattr("onnxmesh.rpc.same_host.unix_listener.MEMORY_BYTES", 6 * MEGABYTE)
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(wide(), [1], first, second)
    gateway = await bench.gateway()
    sent = {}
    for index in range(12):
        x = normal(MEGABYTE * (2 if index % 4 == 3 else 1), seed=index)
        sent[await gateway.send(route, {"x": x})] = x
    for number, x in sent.items():
        assert np.array_equal((await gateway.answer(number, timeout=60))["y"], np.abs(x))
    del x
    gateway.results.clear()
    await eventually(lambda: used_bytes() == 0)


async def test_shared_memory_of_a_cancelled_run_is_released(bench):
    """Its output is not sent, and its buffer is free for the next request."""
    only = await bench.worker("a")
    route = await bench.pipeline(slow(rounds=8), [], only)
    gateway = await bench.gateway()
    x = np.ones((1024, 1024), np.float32)
    await gateway.answer(await gateway.send(route, {"x": x}), timeout=60)
    gateway.results.clear()
    await eventually(lambda: used_bytes() == 0)
    for _ in range(20):
        number = await gateway.send(route, {"x": x})
        # The request and the buffer of its output.
        await eventually(lambda: used_bytes() == 8 * MEGABYTE)
        await gateway.cancel(number, "a")
        await eventually(lambda: gateway.loads["a"].dropped or gateway.results, timeout=60)
        if gateway.loads["a"].dropped:
            break
        gateway.results.clear()  # it ended before the Cancel arrived
        await eventually(lambda: used_bytes() == 0)
    assert gateway.loads["a"].dropped == 1
    await eventually(lambda: used_bytes() == 0)
    assert not gateway.results


async def test_shared_memory_of_a_failed_run_is_released(bench):
    """The next attempt, with other numbers, has its answer in the same place."""
    nodes = [helper.make_node("Gather", ["table", "i"], ["y"])]
    table = normal(64, 4096)
    only = await bench.worker("a")
    made = model(nodes, [value("i", ["N"], 7)], [value("y", ["N", 4096])], {"table": table})
    route = await bench.pipeline(made, [], only)
    gateway = await bench.gateway()
    for index in (3, 63, 64, 5):
        number = await gateway.send(route, {"i": np.full(64, index)})
        if index < 64:
            assert np.array_equal((await gateway.answer(number))["y"], table[np.full(64, index)])
        else:
            assert (await gateway.failure(number)).reason == "MODEL_RUN_FAILED"
        gateway.results.clear()
        await eventually(lambda: used_bytes() == 0)


def num_mapped(pid):
    """Returns how many shared memories a process sees, its own and its peers'."""
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:onnxmesh")


@pytest.mark.parametrize("victim", ["a", "b"])
async def test_shared_memory_of_a_killed_process_is_released(bench, victim):
    """`kill -9` of the writer or of the reader in the middle of large requests: the surviving process releases all that they shared."""
    async with worker_process("a") as (one, first), worker_process("b") as (two, second):
        route = await bench.pipeline(wide(), [1], first, second)
        gateway = await bench.gateway()
        x = normal(MEGABYTE)
        for _ in range(3):
            assert np.array_equal((await gateway.answer(await gateway.send(route, {"x": x})))["y"], np.abs(x))
        # One of each side for each of two links.
        await eventually(lambda: num_mapped(one.pid) == num_mapped(two.pid) == 4)
        killed, left = (one, two) if victim == "a" else (two, one)
        numbers = [await gateway.send(route, {"x": x}) for _ in range(4)]
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
        await eventually(lambda: victim in gateway.lost)
        assert all(
            np.array_equal(gateway.results[number].payloads[0].cast("f"), np.abs(x))
            for number in numbers
            if number in gateway.results
        )
        gateway.results.clear()
        await eventually(lambda: num_mapped(left.pid) == 2)
        await eventually(lambda: gc.collect() is not None and num_mapped("self") == 2)
        await eventually(lambda: used_bytes() == 0)


async def test_shared_memory_with_another_peer_works_after_one_was_killed(bench):
    """After a neighbour was killed, a worker's large tensors go to another one, in shared memory as before."""
    async with worker_process("a") as (_, first), worker_process("b") as (two, second):
        third = await bench.worker("c")
        route = await bench.pipeline(wide(), [1], first, second)
        partitions = bench.partitions(wide(), [1])
        await bench.place(third, "m/1/1", partitions[1])
        gateway = await bench.gateway()
        x = normal(MEGABYTE)
        await gateway.answer(await gateway.send(route, {"x": x}))
        two.kill()
        await two.wait()
        await eventually(lambda: "b" in gateway.lost)
        for _ in range(3):
            number = await gateway.send([route[0], third.hop("m/1/1")], {"x": x})
            assert np.array_equal((await gateway.answer(number))["y"], np.abs(x))
            await asyncio.sleep(0)
