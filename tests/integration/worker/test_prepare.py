"""Models are prepared and cut in child processes of a real worker."""

from __future__ import annotations

import asyncio
import signal

import grpc.aio
import numpy as np
import psutil
import pytest
from onnx import helper

from onnxmesh.planning.graph_costs import GraphCosts
from onnxmesh.rpc.status import from_rpc_error
from onnxmesh.v1.worker_pb2 import CutRequest, PrepareRequest
from tests.eventually import eventually
from tests.integration.worker.stage_models import (
    artefact,
    artefact_of_bytes,
    model,
    skipping_mlp,
    slow,
    value,
    wide,
    write,
)


def children():
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "services.worker.workshop_child" in child.cmdline()
    ]


def upload(bench, made, name="upload"):
    path = write(made, bench.folder / name)
    return artefact(path.parent, bench.blobs)


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def prepared(worker, bench, made, level="all", name="upload"):
    request = PrepareRequest(model=upload(bench, made, name), sources=[bench.store], optimisation=level)
    return await worker.scheduler.stub.Prepare(request)


async def test_a_model_is_prepared_cut_and_served_from_the_worker_that_cut_it(bench):
    """The partitions are fetched from that worker's own store."""
    maker, other = await bench.worker("a"), await bench.worker("b")
    answer = await prepared(maker, bench, skipping_mlp())
    profile = GraphCosts.from_json(answer.costs.decode())
    assert [spec.name for spec in answer.signature.outputs] == ["y", "early"]
    cuts = [profile.legal_cuts[len(profile.legal_cuts) // 2]]
    made = await maker.scheduler.stub.Cut(CutRequest(prepared=answer.prepared, cuts=cuts))
    route = []
    for partition, worker in zip(made.partitions, (maker, other), strict=True):
        stage = f"m/1/{partition.index}"
        await worker.scheduler.place(stage, partition, [maker.address])
        await worker.scheduler.told("stage_loaded")
        route.append(worker.hop(stage))
    gateway = await bench.gateway()
    x = np.ones((2, 16), np.float32)
    assert (await gateway.answer(await gateway.send(route, {"x": x})))["y"].shape == (2, 16)
    assert not children()


async def test_bad_models_are_refused_with_what_is_wrong(bench):
    """And the next good one is prepared."""
    worker = await bench.worker("a")
    lacking = model([helper.make_node("NoSuchOp", ["x"], ["y"])], [value("x", [1])], [value("y", [1])])
    cases = [
        (b"this is no model at all", "not an ONNX model"),
        (skipping_mlp().SerializeToString()[:900], "model.onnx"),
        (lacking.SerializeToString(), "NoSuchOp"),
    ]
    for content, says in cases:
        listed = artefact_of_bytes("model.onnx", content, bench.folder / "bad", bench.blobs)
        request = PrepareRequest(model=listed, sources=[bench.store], optimisation="extended")
        error = await refusal(worker.scheduler.stub.Prepare(request))
        assert error.reason == "INVALID_MODEL"
        assert says in error.message
        assert str(bench.folder) not in error.message
    assert (await prepared(worker, bench, wide())).prepared


async def test_what_is_asked_for_must_make_sense(bench):
    """A level that is none, an upload without a model, a name that nothing has, cuts that cannot be."""
    worker = await bench.worker("a")
    stub = worker.scheduler.stub
    listed = upload(bench, wide())
    wrong_level = PrepareRequest(model=listed, sources=[bench.store], optimisation="most")
    assert (await refusal(stub.Prepare(wrong_level))).reason == "INVALID_REQUEST"
    text = artefact_of_bytes("readme.txt", b"hello", bench.folder / "text", bench.blobs)
    no_model = PrepareRequest(model=text, sources=[bench.store], optimisation="all")
    assert (await refusal(stub.Prepare(no_model))).reason == "INVALID_REQUEST"
    assert (await refusal(stub.Cut(CutRequest(prepared="../etc", cuts=[])))).reason == "NOT_FOUND"
    answer = await prepared(worker, bench, wide(), "none")
    for cuts in ([2, 1], [99]):
        error = await refusal(stub.Cut(CutRequest(prepared=answer.prepared, cuts=cuts)))
        assert error.reason == "INVALID_PLAN", cuts
    assert len((await stub.Cut(CutRequest(prepared=answer.prepared, cuts=[1]))).partitions) == 2


async def test_a_child_that_dies_is_an_invalid_model_and_nothing_more(bench):
    """The worker serves on, requests and the next model."""
    worker = await bench.worker("a")
    route = await bench.pipeline(wide(), [], worker)
    gateway = await bench.gateway()
    async with asyncio.TaskGroup() as group:
        refused = group.create_task(refusal(prepared(worker, bench, slow(rounds=50), name="victim")))
        await eventually(children)
        children()[0].send_signal(signal.SIGSEGV)
        await gateway.answer(await gateway.send(route, {"x": np.ones(3, np.float32)}))
    assert refused.result().reason == "INVALID_MODEL"
    assert "ONNX Runtime crashed while preparing the model" in refused.result().message
    assert "SIGSEGV" in refused.result().message
    assert (await prepared(worker, bench, wide())).prepared


async def test_a_call_that_is_given_up_takes_its_child_and_its_files_with_it(bench):
    """A scheduler that dies leaves no work behind."""
    worker = await bench.worker("a", cache=bench.folder / "cache")
    listed = upload(bench, slow(rounds=50))
    call = worker.scheduler.stub.Prepare(
        PrepareRequest(model=listed, sources=[bench.store], optimisation="all")
    )
    await eventually(children)
    call.cancel()
    await eventually(lambda: not children())
    await eventually(lambda: not any((bench.folder / "cache" / "workplace").iterdir()))
    await eventually(lambda: not list((bench.folder / "cache" / "blobs").glob("??/*")))
