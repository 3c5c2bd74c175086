"""Credit between real workers, where a stage is slower than the one before it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from onnxmesh.rpc.link_policy.credits import WINDOW_BYTES
from tests.eventually import eventually
from tests.integration.worker.stage_models import model, value
from tests.integration.worker.worker_process import worker_process

ACTIVATION_BYTES = 10_000_000
NUM_SINES = 3
NUM_IN_FLIGHT = 24


def swelling():
    """One number becomes 10 MB at once, on which the second stage works for long; the third has one number again."""
    names = ["h", *(f"s{i}" for i in range(NUM_SINES))]
    nodes = [helper.make_node("Expand", ["x", "size"], ["e"]), helper.make_node("Neg", ["e"], ["h"])]
    nodes += [helper.make_node("Sin", [names[i]], [names[i + 1]]) for i in range(NUM_SINES)]
    nodes.append(helper.make_node("Add", [names[-1], "h"], ["sum"]))
    nodes.append(helper.make_node("ReduceMax", ["sum"], ["y"], keepdims=0))
    return model(
        nodes, [value("x", [1])], [value("y", [])], {"size": np.array([ACTIVATION_BYTES // 4], np.int64)}
    )


def expected(x):
    h = last = np.float32(-x)
    for _ in range(NUM_SINES):
        last = np.sin(last)
    return last + h


async def answers(bench, route):
    """Sends many requests at once; returns the most in-flight bytes that each of two workers reported."""
    gateway = await bench.gateway()
    most: dict[str, int] = {}
    numbers = [await gateway.send(route, {"x": np.full(1, i, np.float32)}) for i in range(NUM_IN_FLIGHT)]

    def all_answered():
        assert not gateway.failures
        for name, load in gateway.loads.items():
            most[name] = max(most.get(name, 0), load.in_flight_bytes)
        return set(numbers) <= gateway.results.keys() and most.keys() == {"a", "b"}

    await eventually(all_answered)
    for i, number in enumerate(numbers):
        assert (await gateway.answer(number))["y"] == pytest.approx(expected(i), rel=1e-5)
    return most


async def test_credit_bounds_the_bytes_that_wait_for_a_slow_stage(bench):
    """However many requests are in flight: the fast stage waits for credit of the slow one."""
    async with worker_process("a") as (_, first), worker_process("b") as (_, second):
        route = await bench.pipeline(swelling(), [2], first, second)
        most = await answers(bench, route)
    assert most["b"] <= WINDOW_BYTES + 2 * ACTIVATION_BYTES


async def test_credit_does_not_deadlock_a_route_that_returns_to_a_worker(bench):
    """The first and the third stage on one worker, the second on another; in-flight bytes are bounded on both."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(swelling(), [2, 4], first, second, first)
    most = await answers(bench, route)
    # What runs and what leaves, beside what waits.
    assert most["a"] <= 2 * WINDOW_BYTES + 4 * ACTIVATION_BYTES
    assert most["b"] <= WINDOW_BYTES + 4 * ACTIVATION_BYTES


async def test_credit_of_cancelled_requests_is_returned(bench):
    """Half of the requests are cancelled while they wait for the slow stage; the others are answered."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(swelling(), [2], first, second)
    gateway = await bench.gateway()
    numbers = [await gateway.send(route, {"x": np.full(1, i, np.float32)}) for i in range(NUM_IN_FLIGHT)]
    kept, cancelled = numbers[::2], numbers[1::2]
    for number in cancelled:
        await gateway.cancel(number, "a", "b")
    await eventually(lambda: set(kept) <= gateway.results.keys(), timeout=100)
    assert not gateway.failures
