"""The worker as a process: registration, SIGKILL, SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys

import grpc.aio
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from onnxmesh.device.device_kind import this_cpu_features
from onnxmesh.discovery.embedded_registry import EmbeddedRegistry
from onnxmesh.v1.registry_pb2_grpc import add_RegistryServicer_to_server
from tests.eventually import eventually
from tests.integration.worker.stage_models import slow, wide
from tests.integration.worker.worker_process import worker_process


@contextlib.asynccontextmanager
async def registry():
    server = grpc.aio.server()
    found = EmbeddedRegistry()
    add_RegistryServicer_to_server(found, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield found, address
    finally:
        await server.stop(None)


async def test_worker_process_registers_and_deregisters_on_sigterm():
    """With its address, its tags and what it found out about its machine; exit status 0."""
    async with (
        registry() as (found, address),
        worker_process("w", f"--scheduler={address}", "--tags=edge, spot") as (process, worker),
    ):
        await eventually(lambda: "w" in found.instances)
        instance = found.instances["w"]
        assert (instance.role, instance.address) == ("worker", worker.address)
        assert instance.tags == ("cpu", *this_cpu_features(), "edge", "spot")
        wanted = {"cpu.class", "cores", "device", "host", "memory.bytes", "ort.version", "ort.providers"}
        assert wanted <= instance.attributes.keys()
        async with grpc.aio.insecure_channel(worker.address) as channel:
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert health.status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: "w" not in found.instances)
        assert await process.wait() == 0


async def test_worker_process_that_is_killed_is_named_by_the_one_before_it(bench):
    """`kill -9` of the second while it has a request: the first worker reports it to the origin."""
    async with worker_process("a") as (_, first), worker_process("b") as (victim, second):
        route = await bench.pipeline(wide(), [1], first, second)
        gateway = await bench.gateway()
        x = np.ones(4, np.float32)
        await gateway.answer(await gateway.send(route, {"x": x}))
        victim.send_signal(signal.SIGSTOP)
        number = await gateway.send(route, {"x": x})
        await eventually(lambda: gateway.loads["a"].completed == 2)
        victim.kill()
        failure = await gateway.failure(number)
        assert (failure.reason, failure.worker, failure.retriable) == ("UNAVAILABLE", "b", True)


async def test_worker_process_answers_running_requests_before_it_stops(bench):
    """SIGTERM in the middle of a request."""
    async with worker_process("a") as (process, only):
        route = await bench.pipeline(slow(rounds=10), [], only)
        other = await bench.pipeline(wide(), [], only, name="other")
        gateway = await bench.gateway()
        number = await gateway.send(route, {"x": np.ones((1024, 1024), np.float32)})
        await gateway.answer(await gateway.send(other, {"x": np.ones(2, np.float32)}))
        process.send_signal(signal.SIGTERM)
        assert (await gateway.answer(number))["y"].shape == (1024, 1024)
        assert await process.wait() == 0


async def test_worker_process_says_that_no_scheduler_connects():
    """With what it was given: none, one where nothing listens, or one that has its registration and does not connect.

    Where one is configured, the worker is ready once it is registered.
    """
    async with registry() as (found, address):
        for scheduler, why in {
            "": "none is configured, by --scheduler or --consul",
            "--scheduler=127.0.0.1:1": "127.0.0.1:1: nothing listens there",
            f"--scheduler={address}": f"{address}: it has not connected to ",
        }.items():
            command = [sys.executable, "-m", "services.worker", "--id=w", "--no-measure", "--log-format=json"]
            process = await asyncio.create_subprocess_exec(
                *command,
                *filter(None, [scheduler]),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            warning = {}
            while warning.get("event") != "no_scheduler_found":
                warning = json.loads(await process.stderr.readline())
            assert warning["level"] == "warning"
            assert warning["why"].startswith(why)
            assert ("w" in found.instances) is (address in scheduler)
            process.terminate()
            out, _ = await process.communicate()
            assert out.startswith(b"ready worker ") is (scheduler != "--scheduler=127.0.0.1:1")
            assert process.returncode == 0
