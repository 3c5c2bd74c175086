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
from benchmarks.rows_fuzz.request_bits import IN_FLIGHT, AnyArray, Floats, PlainRuntime, equal_bits, requests
from onnxmesh.client import MeshClient, RouteTrace
from onnxmesh.errors import InvalidPlan, MeshError
from onnxmesh.v1.mesh_pb2 import ModelStatus
from onnxmesh.v1.model_pb2 import DeploymentSpec

TIMEOUT_S = 600.0
LARGE_ROWS = 60
"""Rows of the large requests, which are sent alone and may be split."""
NUM_LARGE = 3
"""The first is measured; the later ones may be split."""


@dataclass(frozen=True, slots=True)
class MeshVerdict:
    """What became of one graph on a mesh.

    Attributes:
        seed: Of the graph.
        mixed: Whether rows are mixed in an output, by construction.
        num_stages: Number of its stages.
        batched: Whether every stage may run batches, by its plan.
        asked: Requests sent.
        wrong: Answers that differ, in any bit, from those of plain ONNX Runtime to the request alone.
        together: Requests that ran in a batch with others at a stage, of those that were traced.
        split: Large requests that ran in micro-batches.
        reason: Why it is not batched.
    """

    seed: int
    mixed: bool
    num_stages: int
    batched: bool
    asked: int
    wrong: int
    together: int
    split: int
    reason: str


async def run_on_mesh(
    address: str,
    folder: Path,
    seeds: Sequence[int],
    *,
    at_once: int,
    report: Callable[[MeshVerdict | MeshError], None],
) -> None:
    """Deploys random graphs in one to three stages, asks them and takes them out of service.

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
        wrong = together = split = 0
        small = requests(seed, IN_FLIGHT, most_rows=3)
        large = np.concatenate(requests(seed + 1, LARGE_ROWS))
        # Without options requests are coalesced by the gateway; those with a trace are batched by the workers.
        for traced in (False, True):
            answers = await asyncio.gather(*[_infer(client, name, runtime, x, traced=traced) for x in small])
            for x, (outputs, trace) in zip(small, answers, strict=True):
                wrong += not _right(runtime, x, outputs)
                together += trace is not None and any(hop.batch > 1 for hop in trace.hops)
        for _ in range(NUM_LARGE):
            outputs, trace = await _infer(client, name, runtime, large, traced=True)
            wrong += not _right(runtime, large, outputs)
            split += trace is not None and trace.pieces > 1
    finally:
        await mesh.undeploy(name)
        path.unlink()
    partitions = deployed.plan.partitions
    return MeshVerdict(
        seed=seed,
        mixed=built.mixed,
        num_stages=len(partitions),
        batched=all(partition.batching.max_rows > 1 for partition in partitions),
        asked=2 * IN_FLIGHT + NUM_LARGE,
        wrong=wrong,
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


def _right(runtime: PlainRuntime, x: Floats, outputs: Sequence[AnyArray]) -> bool:
    return all(equal_bits(one, other) for one, other in zip(outputs, runtime.run(x), strict=True))
