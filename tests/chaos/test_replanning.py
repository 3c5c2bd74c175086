"""Replanning under traffic, on real processes: a worker joins and stops."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tritonclient import grpc as triton

from onnxmesh.client import MeshClient
from onnxmesh.v1.model_pb2 import DeploymentSpec
from tests.chaos.traffic import Traffic
from tests.fakes.service_processes import until

WIDTH = 1024


@pytest.fixture
def model(tmp_path):
    """Twelve dense layers, so large that they are worth spreading."""
    rng = np.random.default_rng(5)
    weights = [
        numpy_helper.from_array((rng.standard_normal((WIDTH, WIDTH)) / 20).astype(np.float32), f"w{i}")
        for i in range(12)
    ]
    nodes = list(
        itertools.chain.from_iterable(
            (
                helper.make_node("MatMul", [f"t{i}" if i else "x", f"w{i}"], [f"h{i}"]),
                helper.make_node("Tanh", [f"h{i}"], [f"t{i + 1}" if i < 11 else "y"]),
            )
            for i in range(12)
        )
    )
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH]) for name in "xy"]
    graph = helper.make_graph(nodes, "deep", values[:1], values[1:], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "deep.onnx"
    onnx.save(made, path)
    return path


def inputs():
    x = np.random.default_rng(1).standard_normal((64, WIDTH)).astype(np.float32)
    return [triton.InferInput("x", list(x.shape), "FP32").set_data_from_numpy(x)]


@contextlib.contextmanager
def service(role, *flags):
    """One service as a process; yields its address and the process."""
    command = [sys.executable, "-m", f"services.{role}", "--log-format=json", "--drain-s=5", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        words = process.stdout.readline().split()
        assert words[:2] == ["ready", role]
        yield words[2], process
    finally:
        process.kill()
        process.communicate()


def status(address):
    async def call():
        async with MeshClient(address) as client:
            return await client.status()

    return asyncio.run(call())


def only_model(address):
    """Returns the status of the model."""
    return status(address).models[0]


def workers(found):
    """Returns the workers of a complete model; False for an incomplete one."""
    return found.state == "READY" and {
        replica.worker for replica in found.replicas if replica.state == "READY"
    }


def test_replanning_for_a_third_worker_fails_no_request(model, tmp_path):
    """Two stages become three without a failed request; when the worker with the only replica of one stops, the model is served again.

    Every plan gives the same bits.
    """
    flags = ["--replan-after-s=0.5", "--linger-s=1", "--profile-s=0.5"]
    with contextlib.ExitStack() as stack:
        scheduler, _ = stack.enter_context(service("scheduler", f"--state={tmp_path / 'state'}", *flags))
        gateway, _ = stack.enter_context(
            service("gateway", "--listen=127.0.0.1:0", f"--scheduler={scheduler}")
        )

        def worker(name):
            return service(
                "worker", f"--id={name}", f"--scheduler={scheduler}", "--threads=1", "--no-measure"
            )

        for name in ("a", "b"):
            stack.enter_context(worker(name))
        until(lambda: len(status(gateway).workers) == 2)

        async def deploy():
            async with MeshClient(gateway) as client:
                spec = DeploymentSpec(name="deep", stages=0, shapes={"batch": 64})
                return await client.deploy(model, spec)

        first = asyncio.run(deploy())
        assert len(first.plan.partitions) == 2
        with Traffic(gateway, 2, "deep", inputs, "y") as traffic:
            traffic.wait_for(50)
            with contextlib.ExitStack() as third:
                with traffic.at_ease():
                    _, process = third.enter_context(worker("c"))
                    until(lambda: only_model(gateway).plan.revision == 1)
                assert len(only_model(gateway).plan.partitions) == 3
                traffic.wait_for(100)
                assert traffic.failures == []
                process.terminate()
                with traffic.at_ease():
                    until(lambda: workers(only_model(gateway)) == {"a", "b"})
            traffic.wait_for(50)
        assert {code for code, _ in traffic.failures} <= {"StatusCode.UNAVAILABLE"}
        assert len(traffic.different) == 1
