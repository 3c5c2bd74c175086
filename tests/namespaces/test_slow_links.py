"""Two workers on hosts of their own, 100 Mbit/s apart, and an activation of 4 MB between their stages."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.tensors.arrays import from_array, to_array
from tests.fakes.service_processes import ServiceProcesses, until
from tests.namespaces.network import Network

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]

WIDTH = 1024
ACTIVATION_BYTES = WIDTH * WIDTH * 4
SLOW = "100mbit"


@pytest.fixture
def uncompressed():
    """Workers without compression; none unless a test overrides it."""
    return ()


@pytest.fixture
def mesh(tmp_path, uncompressed):
    """A mesh whose workers have links of 100 Mbit/s."""
    with Network() as network, ServiceProcesses(tmp_path) as services:
        for host in ("scheduler", "gateway-1"):
            network.add(host)
        for host in ("worker-a", "worker-b"):
            network.add(host, rate=SLOW)
        scheduler = services.start(
            "scheduler", f"--listen={network.addresses['scheduler']}:8010", within=network.on("scheduler")
        )
        for host in ("worker-a", "worker-b", "gateway-1"):
            options = ("--threads=1", "--no-measure") if host.startswith("worker") else ()
            if host in uncompressed:
                options += ("--compression=off",)
            services.start(
                host,
                f"--listen={network.addresses[host]}:8020",
                f"--scheduler={scheduler}",
                *options,
                within=network.on(host),
            )
        yield Mesh(network, services, tmp_path)


class Mesh:
    """The running mesh."""

    def __init__(self, network, services, folder):
        self.network = network
        self.folder = folder
        self._address = services.addresses["gateway-1"]
        self._number = 0

    def onnxmesh(self, *words):
        """Returns the output of a command on the gateway's host."""
        command = [*self.network.on("gateway-1"), sys.executable, "-m", "onnxmesh.cli", *words]
        done = subprocess.run(
            [*command, "--mesh", self._address], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def infer(self, name, x):
        """Returns a model's output, and the number of bytes that the worker of its first stage sent for it."""
        path = self.folder / "x.npy"
        np.save(path, x)
        first = self.first_worker(name)
        before = self.network.sent_bytes(first)
        document = json.loads(self.onnxmesh("infer", name, "--input", f"x={path}", "--json", "--trace"))
        num_bytes = self.network.sent_bytes(first) - before
        hop = document["trace"]["hops"][0]
        assert not hop["plain_bytes"] or hop["wire_bytes"] <= num_bytes < hop["plain_bytes"]
        return np.array(document["outputs"]["y"]["data"], dtype=np.float32), num_bytes

    def model(self, name):
        """Returns the status of a model."""
        models = json.loads(self.onnxmesh("status", "--json"))["models"]
        return next(model for model in models if model["name"] == name)

    def sent(self, worker, encoding):
        """Returns the counters of the tensors that a worker sent, by encoding, once that encoding is among them."""
        found = {}

        def is_counted():
            workers = json.loads(self.onnxmesh("status", "--json"))["workers"]
            sent = next(each["sent"] for each in workers if each["id"] == worker)
            found.update({each["encoding"]: each for each in sent if each["peer"].startswith("worker")})
            return encoding in found or found

        until(is_counted)
        return found

    def first_worker(self, name):
        """Returns the worker of the first stage; the second one is on another worker."""
        first, second = (
            {replica["worker"] for replica in stage["replicas"]} for stage in self.model(name)["stages"]
        )
        assert len(first) == 1
        assert not first & second
        return first.pop()

    def settled(self, name, x, max_bytes):
        """Returns an output for which at most so many bytes were sent; the first requests measure the alternatives."""
        answers = []

        def is_small():
            answer, num_bytes = self.infer(name, x)
            answers.append(answer)
            return True if num_bytes <= max_bytes else num_bytes

        until(is_small)
        return answers[-1]


def outer_product(folder):
    """A model that expands a kilobyte to 4 MB and sums them up; half of them are zero, the others compress well."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("ReduceMean", ["r", "axes"], ["y"], keepdims=0),
    ]
    weights = np.random.default_rng(1).standard_normal((1, WIDTH)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "outer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [WIDTH, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [WIDTH])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([1]), "axes")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path = folder / "outer.onnx"
    onnx.save(made, path)
    return path


def test_compression_is_lossless_by_default(mesh, tmp_path):
    """A deployment without an error bound gets the bits of the uncut model, through zstd."""
    model = outer_product(tmp_path)
    mesh.onnxmesh("deploy", str(model), "--name", "outer", "--stages", "2")
    x = np.random.default_rng(2).integers(-4, 5, (WIDTH, 1)).astype(np.float32)
    expected = to_array(StageSession(model).run({"x": from_array("x", x)})["y"])
    plain, num_bytes = mesh.infer("outer", x)
    assert num_bytes > ACTIVATION_BYTES
    packed = mesh.settled("outer", x, 0.6 * ACTIVATION_BYTES)
    for answer in (plain, packed):
        assert np.array_equal(answer.view(np.uint32), expected.view(np.uint32))
    assert mesh.model("outer")["stages"][0]["lossy_encodings"] == []
    counters = mesh.sent(mesh.first_worker("outer"), "zstd")["zstd"]
    assert counters["wire_bytes"] < 0.6 * counters["tensor_bytes"]
    assert "Large tensors to other hosts" in mesh.onnxmesh("status")


@pytest.mark.parametrize("uncompressed", [("worker-a", "worker-b")])
def test_compression_can_be_turned_off(mesh, tmp_path):
    """On a slow link, and with a deployment that allows an error."""
    model = outer_product(tmp_path)
    mesh.onnxmesh("deploy", str(model), "--name", "outer", "--stages", "2", "--max-activation-error", "0.02")
    x = np.random.default_rng(2).integers(-4, 5, (WIDTH, 1)).astype(np.float32)
    expected = to_array(StageSession(model).run({"x": from_array("x", x)})["y"])
    for _ in range(6):
        answer, num_bytes = mesh.infer("outer", x)
        assert num_bytes > ACTIVATION_BYTES
        assert np.array_equal(answer.view(np.uint32), expected.view(np.uint32))
    assert list(mesh.sent(mesh.first_worker("outer"), "none")) == ["none"]


def test_lossy_compression_stays_within_its_bound(mesh, tmp_path):
    """The errors measured at the deployment are printed; 8 bits are used if they meet the bound, and the output meets it."""
    model, bound = outer_product(tmp_path), 0.02
    deployed = mesh.onnxmesh(
        "deploy", str(model), "--name", "outer", "--stages", "2", "--max-activation-error", str(bound)
    )
    assert "activations may be sent as fp16 or int8 over slow links" in deployed
    found = mesh.model("outer")
    assert 0 < found["activation_errors"]["fp16"] < found["activation_errors"]["int8"] <= bound
    x = np.random.default_rng(2).standard_normal((WIDTH, 1)).astype(np.float32)
    expected = to_array(StageSession(model).run({"x": from_array("x", x)})["y"])
    answer = mesh.settled("outer", x, 0.3 * ACTIVATION_BYTES)
    error = np.abs(answer - expected).max() / np.abs(expected).max()
    assert 0 < error <= bound
