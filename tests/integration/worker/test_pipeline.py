"""Requests through real workers: real sockets, real ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.tensors.arrays import from_array, to_array
from tests.eventually import eventually
from tests.integration.worker.stage_models import skipping_mlp, wide, write

pytestmark = pytest.mark.usefixtures("data_plane")


def whole(made, folder, inputs):
    session = StageSession(write(made, folder / "whole"))
    outputs = session.run({name: from_array(name, array) for name, array in inputs.items()})
    return {name: to_array(tensor) for name, tensor in outputs.items()}


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


async def test_pipeline_answers_bit_for_bit_as_the_whole_model(bench, tmp_path):
    """Also where tensors are carried through a stage that does not touch them."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(skipping_mlp(), [4], first, second)
    gateway = await bench.gateway()
    for batch in (1, 3):
        x = normal(batch, 16, seed=batch)
        answer = await gateway.answer(await gateway.send(route, {"x": x}))
        expected = whole(skipping_mlp(), tmp_path, {"x": x})
        assert answer.keys() == expected.keys()
        for name, array in expected.items():
            assert np.array_equal(answer[name].view(np.uint32), array.view(np.uint32)), name


async def test_pipeline_reports_the_timing_of_each_hop(bench):
    """Queue, compute and wire times of every stage, in the order of the route."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(skipping_mlp(), [4], first, second)
    gateway = await bench.gateway()
    number = await gateway.send(route, {"x": normal(1, 16)})
    await gateway.answer(number)
    timings = gateway.results[number].header.result.timings
    assert [(t.stage, t.worker) for t in timings] == [("m/1/0", "a"), ("m/1/1", "b")]
    assert all(t.compute_ns > 0 and t.wire_ns > 0 for t in timings)
    await eventually(lambda: gateway.loads["b"].completed == 1)


async def test_pipeline_workers_report_their_links_to_next_workers(bench):
    """Not the link to the gateway; the last worker of a route reports none."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(skipping_mlp(), [4], first, second)
    gateway = await bench.gateway()
    await gateway.answer(await gateway.send(route, {"x": normal(1, 16)}))
    await eventually(lambda: gateway.loads["a"].links)
    (link,) = gateway.loads["a"].links
    assert (link.node, link.round_trip_us > 0) == ("b", True)
    assert not gateway.loads["b"].links
    await eventually(lambda: any(link.bytes_per_s for link in gateway.loads["a"].links), timeout=60)


async def test_pipeline_may_pass_one_worker_twice(bench, tmp_path):
    """A route may pass through one worker twice."""
    only = await bench.worker("a")
    route = await bench.pipeline(skipping_mlp(), [3], only, only)
    gateway = await bench.gateway()
    x = normal(2, 16)
    answer = await gateway.answer(await gateway.send(route, {"x": x}))
    assert np.array_equal(answer["y"], whole(skipping_mlp(), tmp_path, {"x": x})["y"])


async def test_pipeline_sends_only_the_requested_outputs(bench, tmp_path):
    """In the order of the request; an output that an earlier stage computed is there too."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(skipping_mlp(), [5], first, second)
    gateway = await bench.gateway()
    x = normal(1, 16)
    expected = whole(skipping_mlp(), tmp_path, {"x": x})
    for outputs in (["early"], ["y"], ["early", "y"]):
        answer = await gateway.answer(await gateway.send(route, {"x": x}, outputs=outputs))
        assert list(answer) == outputs
        assert all(np.array_equal(answer[name], expected[name]) for name in outputs)


async def test_pipeline_carries_an_activation_of_50_megabytes(bench):
    """Larger than any chunk on every hop: there, between stages, and back."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(wide(), [1], first, second)
    gateway = await bench.gateway()
    x = normal(13_000_000)
    answer = await gateway.answer(await gateway.send(route, {"x": x}), timeout=60)
    assert np.array_equal(answer["y"], np.abs(x))


async def test_pipeline_gives_each_concurrent_request_its_own_answer(bench):
    """Multiplexed over one stream, from two gateways with the same numbers."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(wide(), [1], first, second)
    gateways = [await bench.gateway("g1"), await bench.gateway("g2")]
    sent = [
        (gateway, await gateway.send(route, {"x": np.full(5, -offset - i, np.float32)}), offset + i)
        for i in range(50)
        for offset, gateway in enumerate(gateways, start=1)
    ]
    for gateway, number, expected in sent:
        assert (await gateway.answer(number))["y"].tolist() == [expected] * 5
