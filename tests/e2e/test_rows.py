"""Rows of concurrent requests on a real mesh: batched and coalesced where that is proven, and never mixed."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from benchmarks.rows_fuzz.fuzz_counts import FuzzCounts
from benchmarks.rows_fuzz.mesh_run import MeshVerdict, run_on_mesh
from onnxmesh.client import MeshClient
from onnxmesh.v1.model_pb2 import DeploymentSpec
from tests.data_planes import ON
from tests.e2e.mesh_process import running_mesh
from tests.e2e.test_zoo import whole
from tests.zoo.coupled_rows import COUPLED

CASES = ("range_gate", "loop_early_stop_over_batch", "dynamic_quant_argmax")
IN_FLIGHT = 32
LARGE_ROWS = 40
WAIT_S = 600


@pytest.fixture(scope="module")
def mesh():
    with pytest.MonkeyPatch.context() as patch:
        # Measured times would not change what is shown.
        patch.setenv("ONNXMESH_PROFILE_S", "0")
        with running_mesh("--workers=3", plane=ON) as running:
            yield running


async def infer(client, name, x, *, traced):
    tensor = InferInput("x", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x)
    parameters = {"mesh.trace": True} if traced else None
    answer = await client.infer(name, [tensor], client_timeout=WAIT_S, parameters=parameters)
    return answer.as_numpy("y")


async def wrong_answers(address, folder, name, mode, num_stages):
    """Deploys a model of coupled rows and returns how many requests were answered otherwise than by plain ONNX Runtime."""
    made = COUPLED[name]
    own = f"{name}-{mode}-{num_stages}"
    path = folder / f"{own}.onnx"
    path.write_bytes(made.make().SerializeToString())
    large = np.concatenate([made.tame, made.extreme] * (LARGE_ROWS // 2))
    requests = [made.tame, made.extreme] * (IN_FLIGHT // 2)
    expected = {len(x) * x[0, 0]: whole(path, {"x": x})["y"] for x in (made.tame, made.extreme, large)}
    wrong = 0
    async with MeshClient(address) as meshes, InferenceServerClient(address) as client:
        spec = DeploymentSpec(name=own, mode=mode, replicas=1, stages=num_stages)
        deployed = await meshes.deploy(path, spec)
        assert len(deployed.plan.partitions) == num_stages
        assert any(made.reason in each.batching.why_not for each in deployed.plan.partitions)
        # Requests without a trace are coalesced by the gateway where that is allowed; a large one alone is split.
        for traced, burst in ((False, requests), (True, requests), (False, [large]), (False, [large])):
            answers = await asyncio.gather(*[infer(client, own, x, traced=traced) for x in burst])
            for x, answer in zip(burst, answers, strict=True):
                right = expected[len(x) * x[0, 0]]
                same = answer.tobytes() == right.tobytes()
                wrong += not (same or (mode == "portable" and np.allclose(answer, right, rtol=1e-5)))
        await meshes.undeploy(own)
    return wrong


def test_coupled_rows_are_answered_as_by_plain_onnx_runtime(mesh, tmp_path):
    """Each case in 1 to 3 stages, and once portable: 32 requests in flight, coalesced or not, and large requests alone."""

    async def every_case():
        async with asyncio.TaskGroup() as group:
            return [
                group.create_task(wrong_answers(mesh.address, tmp_path, name, mode, num_stages))
                for name in CASES
                for mode, num_stages in (("exact", 1), ("exact", 2), ("exact", 3), ("portable", 2))
            ]

    assert {task.result() for task in asyncio.run(every_case())} == {0}


def test_random_graphs_are_answered_as_by_plain_onnx_runtime(mesh, tmp_path):
    """A sample of the fuzzer: with and without operators in which rows meet, in 1 to 3 stages, several models at a time."""
    seeds = range(8)
    counts, verdicts = FuzzCounts(len(seeds)), []

    def report(verdict):
        counts.add(verdict)
        verdicts.append(verdict)

    asyncio.run(run_on_mesh(mesh.address, tmp_path, seeds, at_once=6, report=report))
    assert counts.right, counts.counts
    assert all(isinstance(each, MeshVerdict) and each.batched == (not each.mixed) for each in verdicts)
    assert {each.num_stages for each in verdicts} == {1, 2, 3}
    assert sum(each.together for each in verdicts if not each.mixed) > 0
