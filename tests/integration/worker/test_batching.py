"""Batches on real workers: real sockets, real ONNX Runtime."""

from __future__ import annotations

import asyncio
from time import monotonic

import numpy as np
import pytest
from onnx import helper

from tests.integration.worker.stage_models import model, value


def embedding():
    """Looks rows of a table up, then doubles and negates them: an index that is not in the table fails the run."""
    table = np.arange(64, dtype=np.float32).reshape(16, 4)
    nodes = [
        helper.make_node("Gather", ["table", "i"], ["g"]),
        helper.make_node("Add", ["g", "g"], ["d"]),
        helper.make_node("Neg", ["d"], ["y"]),
    ]
    inputs = [value("i", ["N", "L"], 7)]
    return model(nodes, inputs, [value("y", ["N", "L", 4])], {"table": table})


def expected(i):
    return -2 * np.arange(64, dtype=np.float32).reshape(16, 4)[i]


async def pipeline(bench, *workers, max_rows=16):
    """Returns a route of a stage on each worker: two, or three whose first ones only look up and double."""
    partitions = bench.partitions(embedding(), [2] if len(workers) == 2 else [1, 2])
    route = []
    for index, (partition, worker) in enumerate(zip(partitions, workers, strict=True)):
        partition.batching.max_rows = max_rows
        await bench.place(worker, f"m/1/{index}", partition)
        route.append(worker.hop(f"m/1/{index}"))
    return route


def timings(gateway, number):
    return gateway.results[number].header.result.timings


@pytest.mark.parametrize("max_rows", [1, 16])
async def test_batches_give_each_request_its_own_answer(bench, max_rows):
    """With batching and without."""
    first, second = await bench.worker("a"), await bench.worker("b")
    await send_many(await pipeline(bench, first, second, max_rows=max_rows), await bench.gateway(), max_rows)


async def send_many(route, gateway, max_rows):
    """Checks the answers to requests of any number of rows and any length, bad ones among good ones, some given up."""
    rng = np.random.default_rng(5)
    sent, bad, cancelled = {}, set(), set()
    for turn in range(120):
        i = rng.integers(0, 16, (rng.integers(1, 4), rng.integers(1, 3)))
        if turn % 9 == 4:
            i[0, 0] = 99
        number = await gateway.send(route, {"i": i})
        sent[number] = i
        if turn % 9 == 4:
            bad.add(number)
        elif turn % 11 == 7:
            await gateway.cancel(number, "a", "b")
            cancelled.add(number)
    for number in sent.keys() - bad - cancelled:
        assert np.array_equal((await gateway.answer(number))["y"], expected(sent[number]))
        assert all(1 <= timing.batch <= max_rows for timing in timings(gateway, number))
    for number in bad:
        assert (await gateway.failure(number)).reason == "MODEL_RUN_FAILED"
    for number in cancelled & gateway.results.keys():  # it was quicker
        assert np.array_equal((await gateway.answer(number))["y"], expected(sent[number]))
    assert not cancelled & gateway.failures.keys()


async def test_batches_are_formed_of_concurrent_requests(bench):
    """At each stage, as the timings of the answer show."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await pipeline(bench, first, second)
    gateway = await bench.gateway()
    seen = {"m/1/0": 1, "m/1/1": 1}
    end_s = monotonic() + 60
    while min(seen.values()) < 2:
        assert monotonic() < end_s, seen
        numbers = [await gateway.send(route, {"i": np.array([[turn % 16]])}) for turn in range(64)]
        for turn, number in enumerate(numbers):
            assert np.array_equal((await gateway.answer(number))["y"], expected(np.array([[turn % 16]])))
            for timing in timings(gateway, number):
                seen[timing.stage] = max(seen[timing.stage], timing.batch)


async def test_batches_survive_a_gateway_that_disconnects(bench):
    """Requests of others in the same batches are answered."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await pipeline(bench, first, second)
    stays = await bench.gateway("stays")
    leaves = await bench.gateway("leaves")
    numbers = []
    for turn in range(60):
        await leaves.send(route, {"i": np.array([[3]])})
        numbers.append(await stays.send(route, {"i": np.array([[turn % 16]])}))
        if turn == 30:
            for link in (leaves.links.get("a"), leaves.links.get("b")):
                link.disconnect()
        await asyncio.sleep(0)
    for turn, number in enumerate(numbers):
        assert np.array_equal((await stays.answer(number))["y"], expected(np.array([[turn % 16]])))
