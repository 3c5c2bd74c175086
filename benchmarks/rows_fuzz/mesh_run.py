"""Random graphs on a running mesh: several models at a time on the same workers, 32 requests of each in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from benchmarks.rows_fuzz.random_graph import random_graph
from benchmarks.rows_fuzz.request_bits import (
    IN_FLIGHT,
    AnyArray,
    Floats,
    PlainRuntime,
    equal_bits,
    requests,
)
from onnxmesh.client import MeshClient, RouteTrace
from onnxmesh.errors import InvalidPlan, MeshError
from onnxmesh.v1.mesh_pb2 import ModelStatus
from onnxmesh.v1.model_pb2 import DeploymentSpec

TIMEOUT_S = 600.0
LARGE_ROWS = 60
"""Rows of the large request, which is sent alone."""
NUM_SLICES = 4
"""Requests that the large one is then sent as, as a gateway does with micro-batches."""


@dataclass(frozen=True, slots=True)
class MeshVerdict:
    """What became of one graph on a mesh.

    Attributes:
        seed: Of the graph.
        mixed: Whether rows are mixed in an output, by construction.
        num_stages: Number of its stages.
        batched: Whether every stage may run batches, by its plan.
        num_requests: Requests sent.
        repeatable: Whether plain ONNX Runtime answers a request alike whatever it ran before.
        wrong: Answers that differ, in any bit, from those of plain ONNX Runtime to the request alone; 0 where those are not
            repeatable.
        together: Requests that ran in a batch with others at a stage, of those that were traced.
        split: Whether the large request may be split: it was then sent in slices too.
        reason: Why it is not batched.
    """

    seed: int
    mixed: bool
    num_stages: int
    batched: bool
    num_requests: int
    repeatable: bool
    wrong: int
    together: int
    split: bool
    reason: str


async def run_on_mesh(
    address: str,
    folder: Path,
    seeds: Sequence[int],
    *,
    at_once: int,
    report: Callable[[MeshVerdict | MeshError], None],
) -> None:
    """Deploys random graphs in one to three stages, sends them requests and undeploys them.

    Args:
        address: The mesh.
        folder: Folder for their files.
        seeds: Of the graphs.
        at_once: Number of models in service at a time.
        report: Called with what became of each graph, or why it was not deployed.
    """
    limit = asyncio.Semaphore(at_once)
    async with MeshClient(address) as mesh, InferenceServerClient(address) as client:

        async def one(seed: int) -> None:
            async with limit:
                try:
                    report(await _examined(mesh, client, folder, seed))
                except MeshError as error:
                    report(error)

        async with asyncio.TaskGroup() as group:
            for seed in seeds:
                group.create_task(one(seed))


async def _examined(mesh: MeshClient, client: InferenceServerClient, folder: Path, seed: int) -> MeshVerdict:
    built = random_graph(seed)
    name = f"graph-{seed}"
    path = folder / f"{name}.onnx"
    onnx.save(built.model, path)
    deployed = await _deployed(mesh, path, name, 1 + seed % 3)
    try:
        runtime = await asyncio.to_thread(PlainRuntime, path)
        wrong = together = 0
        small = requests(seed, IN_FLIGHT, most_rows=3)
        # Without options requests are coalesced by the gateway; those with a trace are batched by the workers.
        for traced in (False, True):
            answers = await asyncio.gather(*[_infer(client, name, runtime, x, traced=traced) for x in small])
            for x, (outputs, trace) in zip(small, answers, strict=True):
                wrong += not _right(runtime.run(x), outputs)
                together += trace is not None and any(hop.batch > 1 for hop in trace.hops)
        large = np.concatenate(requests(seed + 1, LARGE_ROWS))
        expected = runtime.run(large)
        outputs, _ = await _infer(client, name, runtime, large, traced=False)
        wrong += not _right(expected, outputs)
        partitions = deployed.plan.partitions
        split = all(each.batching.max_split_rows >= LARGE_ROWS for each in partitions)
        if split:
            slices = np.split(large, NUM_SLICES)
            parts = await asyncio.gather(*[_infer(client, name, runtime, x, traced=True) for x in slices])
            columns = zip(*(outputs for outputs, _ in parts), strict=True)
            wrong += not _right(expected, [np.concatenate(column) for column in columns])
    finally:
        await mesh.undeploy(name)
        path.unlink()
    return MeshVerdict(
        seed=seed,
        mixed=built.mixed,
        num_stages=len(partitions),
        batched=all(partition.batching.max_rows > 1 for partition in partitions),
        num_requests=2 * IN_FLIGHT + 1 + NUM_SLICES * split,
        repeatable=built.repeatable,
        wrong=wrong if built.repeatable else 0,
        together=together,
        split=split,
        reason=next((each.batching.why_not for each in partitions if each.batching.why_not), ""),
    )


async def _deployed(mesh: MeshClient, path: Path, name: str, num_stages: int) -> ModelStatus:
    """Deploys a model in so many stages, or in as many as it can be cut into."""
    try:
        return await mesh.deploy(path, DeploymentSpec(name=name, replicas=1, stages=num_stages))
    except InvalidPlan:
        return await mesh.deploy(path, DeploymentSpec(name=name, replicas=1, stages=1))


async def _infer(
    client: InferenceServerClient, name: str, runtime: PlainRuntime, x: Floats, *, traced: bool
) -> tuple[list[AnyArray], RouteTrace | None]:
    tensor = InferInput("x", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x)
    parameters = {"mesh.trace": True} if traced else None
    answer = await client.infer(name, [tensor], client_timeout=TIMEOUT_S, parameters=parameters)
    outputs = [answer.as_numpy(output) for output in runtime.outputs]
    if not traced:
        return outputs, None
    return outputs, RouteTrace.from_json(answer.get_response().parameters["mesh.trace"].string_param)


def _right(expected: Sequence[AnyArray], outputs: Sequence[AnyArray]) -> bool:
    return all(equal_bits(one, other) for one, other in zip(outputs, expected, strict=True))
