"""Stages of one worker that pass tensors in their device's memory: real sockets, real ONNX Runtime."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.memory.shared_memory import OwnMemory
from onnxmesh.tensors.device_tensor import DeviceMemory, DeviceTensor
from services.worker.control.stage_loader import StageLoader
from tests.devices import DEVICES
from tests.integration.worker import test_batching, test_request_histories
from tests.integration.worker.stage_models import skipping_mlp, wide
from tests.integration.worker.test_pipeline import normal, whole

MEGABYTE = 1 << 20


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    """Has workers compute on a device; parameter `cpu` treats the host's memory as that of a device."""
    settings = {"device": request.param, "runs_at_once": 2}
    if request.param == "cpu":

        def loader(*args, **more):
            return StageLoader(*args, **more | {"device": "cpu", "staging": OwnMemory(32 * MEGABYTE)})

        monkeypatch.setattr("services.worker.app.StageLoader", loader)
    return settings


@pytest.fixture
def copies(monkeypatch):
    """Returns the threads in which something was copied to the host."""
    threads = []
    make = DeviceMemory.__init__

    def making(memory, device, address, *, fetch, owner):
        def noting():
            threads.append(threading.current_thread().name)
            return fetch()

        make(memory, device, address, fetch=noting, owner=owner)

    monkeypatch.setattr(DeviceMemory, "__init__", making)
    return threads


@pytest.fixture
def device_inputs(monkeypatch):
    """Returns the names of input tensors that were in the device's memory."""
    names = []
    bindable = StageSession._bindable

    def noting(session, tensor):
        if isinstance(tensor, DeviceTensor):
            names.append(tensor.name)
        return bindable(session, tensor)

    monkeypatch.setattr(StageSession, "_bindable", noting)
    return names


async def test_device_memory_is_kept_between_stages_of_one_worker(
    bench, device, copies, device_inputs, tmp_path
):
    """With the bits of the whole model; a tensor that is carried through is copied when it leaves, in a stage's thread."""
    first, second = await bench.worker("a", **device), await bench.worker("b", **device)
    route = await bench.pipeline(skipping_mlp(), [3, 6], first, first, second)
    gateway = await bench.gateway()
    for batch in (1, 3):
        x = normal(batch, 16, seed=batch)
        answer = await gateway.answer(await gateway.send(route, {"x": x}))
        expected = whole(skipping_mlp(), tmp_path, {"x": x})
        assert answer.keys() == expected.keys()
        for name, array in expected.items():
            assert np.allclose(answer[name], array, rtol=1e-3, atol=1e-3), name
            assert device["device"] == "cuda" or np.array_equal(answer[name], array), name
    assert set(device_inputs) == {"h1"}
    assert set(copies) == {"m/1/1"}


async def test_device_memory_is_copied_for_another_worker(bench, device, device_inputs):
    """Two stages here and one elsewhere: only the local hop stays in device memory."""
    first, second = await bench.worker("a", **device), await bench.worker("b", **device)
    route = await bench.pipeline(wide(), [1], first, first, name="near")
    far = await bench.pipeline(wide(), [1], first, second, name="far")
    gateway = await bench.gateway()
    for index in range(3):
        x = normal(MEGABYTE, seed=index)
        for each in (route, far):
            assert np.array_equal((await gateway.answer(await gateway.send(each, {"x": x})))["y"], np.abs(x))
        gateway.results.clear()
    assert device_inputs == ["h"] * 3


@pytest.mark.parametrize("max_rows", [1, 16])
async def test_device_memory_gives_each_request_its_own_answer(bench, device, max_rows, device_inputs):
    """Two runs at a time, with batching and without, bad ones among good ones."""
    first, second = await bench.worker("a", **device), await bench.worker("b", **device)
    route = await test_batching.pipeline(bench, first, first, second, max_rows=max_rows)
    await test_batching.send_many(route, await bench.gateway(), max_rows)
    assert device_inputs


async def test_device_memory_survives_request_histories(bench, device, device_inputs):
    """Whatever gateways do: each request ends once, and then the workers are at rest."""
    first, second = await bench.worker("a", **device), await bench.worker("b", **device)
    route = await test_batching.pipeline(bench, first, first, second)
    await asyncio.to_thread(test_request_histories.playing(route, max_examples=15))
    assert device_inputs
