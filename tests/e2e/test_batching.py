"""Dynamic batching with many clients at once on a real mesh."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import numpy as np
import pytest
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from onnxmesh.client import RouteTrace
from tests.data_planes import BOTH, OFF, ON
from tests.e2e.mesh_process import running_mesh
from tests.e2e.test_zoo import bits, whole
from tests.zoo import ZOO

NUM_CLIENTS = 16
NUM_REQUESTS = 6
MANY = 40
"""Rows of a request that is larger than any batch."""
BATCHED = ["mlp", "branching_cnn", "tied_weights", "qdq_cnn"]


@pytest.fixture(scope="module", params=BOTH, ids=str)
def mesh(request):
    with running_mesh("--workers=2", plane=request.param) as running:
        yield running


def infer(client, name, feeds, **parameters):
    inputs = []
    for key, array in feeds.items():
        tensor = triton.InferInput(key, list(array.shape), np_to_triton_dtype(array.dtype))
        inputs.append(tensor.set_data_from_numpy(array))
    return client.infer(name, inputs, client_timeout=600, parameters=parameters or None)


def check(answer, expected):
    for output, array in expected.items():
        got = answer.as_numpy(output)
        assert got.shape == array.shape
        assert bits(got) == bits(array), output


@pytest.mark.parametrize("name", BATCHED)
def test_batching_gives_each_client_its_own_output_bit_for_bit(mesh, tmp_path, name):
    """16 clients at once with different rows, one of them with many."""
    model = ZOO[name]
    path = model.build(tmp_path)
    deployed = mesh.deploy(path, name=name, stages=2)
    most = [partition.batching.max_rows for partition in deployed.plan.partitions]
    assert all(rows > 1 for rows in most) if mesh.plane is ON else most == [1, 1]
    feeds = {
        (client, index): model.inputs(100 * client + index, MANY if client == 0 else 1 + (client + index) % 3)
        for client in range(NUM_CLIENTS)
        for index in range(NUM_REQUESTS)
    }
    expected = {key: whole(path, given) for key, given in feeds.items()}

    def one_client(number):
        with triton.InferenceServerClient(mesh.address) as client:
            for index in range(NUM_REQUESTS):
                check(infer(client, name, feeds[number, index]), expected[number, index])

    try:
        with ThreadPoolExecutor(NUM_CLIENTS) as pool:
            list(pool.map(one_client, range(NUM_CLIENTS)))
    finally:
        mesh.undeploy(name)


def test_batching_fails_only_the_bad_requests(mesh, tmp_path):
    """Tokens out of range fail the run of their own request and no other; traces show the batches."""
    model = ZOO["tied_weights"]
    path = model.build(tmp_path)
    mesh.deploy(path, name="words", stages=2)
    good = {"tokens": model.inputs(1, 1)["tokens"]}
    bad = {"tokens": np.full_like(good["tokens"], 10_000)}
    expected = whole(path, good)
    end_s = monotonic() + 600
    batches = []

    def one_client(number):
        with triton.InferenceServerClient(mesh.address) as client:
            while monotonic() < end_s:
                if number % 4 == 0:
                    with pytest.raises(InferenceServerException, match="words/1/0"):
                        infer(client, "words", bad)
                else:
                    answer = infer(client, "words", good, **{"mesh.trace": True})
                    check(answer, expected)
                    text = answer.get_response().parameters["mesh.trace"].string_param
                    batches.append(max(hop.batch for hop in RouteTrace.from_json(text).hops))
                if len(batches) > 100 and (max(batches) > 1 or mesh.plane is OFF):
                    return

    try:
        with ThreadPoolExecutor(NUM_CLIENTS) as pool:
            list(pool.map(one_client, range(NUM_CLIENTS)))
    finally:
        mesh.undeploy("words")
    assert (max(batches) > 1) == (mesh.plane is ON)


@pytest.mark.parametrize("mesh", [ON], indirect=True, ids=str)
def test_status_describes_batching(mesh, tmp_path):
    """For each model, as text and as JSON."""
    mesh.deploy(ZOO["mlp"].build(tmp_path), name="mlp", stages=2)
    mesh.run("deploy", str(ZOO["strings"].build(tmp_path)), "--max-batch=4", "--max-delay-ms=1.5")
    try:
        shown = " ".join(mesh.run("status").stdout.split())
        assert "batches of up to 32 rows, bit for bit as single requests" in shown
        assert "no batching: 'words' is BYTES, which cannot be split into rows" in shown
        (strings,) = [each for each in mesh.status().models if each.name == "strings"]
        assert (strings.spec.batching.max_rows, strings.spec.batching.max_delay_us) == (4, 1500)
    finally:
        mesh.undeploy("mlp")
        mesh.undeploy("strings")
