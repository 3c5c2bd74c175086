"""Preparing and cutting in child processes of a real worker."""

from __future__ import annotations

import asyncio
import signal

import grpc.aio
import numpy as np
import psutil
import pytest
from onnx import helper

from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.profile import Profile
from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.v1.model_pb2 import Batching, Shape, Shapes
from onnxmesh.v1.worker_pb2 import CutRequest, DirectInputs, PrepareRequest
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
        if child.status() != psutil.STATUS_ZOMBIE
        and "services.worker.models.model_builder_child" in child.cmdline()
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


async def test_preparations_serve_the_partitions_of_a_cut(bench):
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
        await worker.scheduler.wait_for("stage_loaded")
        route.append(worker.hop(stage))
    gateway = await bench.gateway()
    x = np.ones((2, 16), np.float32)
    assert (await gateway.answer(await gateway.send(route, {"x": x})))["y"].shape == (2, 16)
    assert not children()


async def test_preparations_refuse_bad_models_with_the_reason(bench):
    """And the next good one is prepared."""
    worker = await bench.worker("a")
    lacking = model([helper.make_node("NoSuchOp", ["x"], ["y"])], [value("x", [1])], [value("y", [1])])
    cases = [
        (b"this is no model at all", "not an ONNX model"),
        (skipping_mlp().SerializeToString()[:900], "model.onnx"),
        (lacking.SerializeToString(), "NoSuchOp"),
    ]
    for content, message in cases:
        listed = artefact_of_bytes("model.onnx", content, bench.folder / "bad", bench.blobs)
        request = PrepareRequest(model=listed, sources=[bench.store], optimisation="extended")
        error = await refusal(worker.scheduler.stub.Prepare(request))
        assert error.reason == "INVALID_MODEL"
        assert message in error.message
        assert str(bench.folder) not in error.message
    assert (await prepared(worker, bench, wide())).prepared


async def test_preparations_refuse_invalid_requests(bench):
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


async def test_preparations_survive_the_death_of_a_child(bench):
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


async def test_preparations_end_the_child_and_remove_the_files_of_a_cancelled_call(bench):
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


async def test_preparations_describe_costs_at_the_shapes_and_a_profile(bench):
    """Boundary bytes at the requested batch, times of this kind of device, and the same graph whether measured or not."""
    worker = await bench.worker("a")
    listed = upload(bench, skipping_mlp())

    async def described(**options):
        request = PrepareRequest(model=listed, sources=[bench.store], optimisation="basic", **options)
        return await worker.scheduler.stub.Prepare(request)

    small, large = await described(), await described(shapes=Shapes(batch=8))
    assert small.prepared != large.prepared
    costs = [GraphCosts.from_json(answer.costs.decode()) for answer in (small, large)]
    assert [each.inputs[0].num_bytes for each in costs] == [64, 512]
    assert small.profile == b""
    measured = await described(shapes=Shapes(batch=8), profile_s=0.1)
    assert measured.prepared == large.prepared
    ((kind, times),) = Profile.from_json(measured.profile.decode()).devices.items()
    assert kind.startswith("cpu-") and kind.endswith("-1t")
    assert len(times.node_s) == len(costs[1].nodes)
    wrong = PrepareRequest(
        model=listed,
        sources=[bench.store],
        optimisation="basic",
        shapes=Shapes(inputs={"z": Shape(dims=[1])}),
    )
    assert (await refusal(worker.scheduler.stub.Prepare(wrong))).message.startswith("shape for 'z'")


async def test_preparations_report_the_difference_of_a_portable_cut(bench):
    """Partitions of several stages, some inputs straight from the gateway; the level is part of the command."""
    worker = await bench.worker("a")
    listed = upload(bench, skipping_mlp())
    request = PrepareRequest(model=listed, sources=[bench.store], optimisation="none", mode="portable")
    stub = worker.scheduler.stub
    answer = await stub.Prepare(request)
    costs = GraphCosts.from_json(answer.costs.decode())
    cut = await stub.Cut(CutRequest(prepared=answer.prepared, cuts=[costs.legal_cuts[2]]))
    assert 0 <= cut.largest_difference < 1e-4
    route = []
    for partition in cut.partitions:
        partition.load_optimisation = "all"
        stage = f"m/1/{partition.index}"
        await worker.scheduler.place(stage, partition, [worker.address])
        await worker.scheduler.wait_for("stage_loaded", partition.index + 1)
        route.append(worker.hop(stage))
    gateway = await bench.gateway()
    x = np.ones((2, 16), np.float32)
    assert (await gateway.answer(await gateway.send(route, {"x": x})))["y"].shape == (2, 16)
    cut.partitions[0].load_optimisation = "most"
    await worker.scheduler.place("n/1/0", cut.partitions[0], [worker.address])
    failed = await worker.scheduler.wait_for("stage_failed")
    assert (failed.reason, "got 'most'" in failed.message) == ("INVALID_REQUEST", True)


async def test_preparations_name_the_direct_inputs_of_partitions(bench):
    """The partition names them, so that the gateway can send them."""
    worker = await bench.worker("a")
    nodes = [helper.make_node("Neg", ["x"], ["h"]), helper.make_node("Add", ["h", "late"], ["y"])]
    made = model(nodes, [value("x", ["N"]), value("late", ["N"])], [value("y", ["N"])])
    answer = await prepared(worker, bench, made, "none")
    request = CutRequest(
        prepared=answer.prepared, cuts=[1], direct=[DirectInputs(), DirectInputs(names=["late"])]
    )
    cut = await worker.scheduler.stub.Cut(request)
    assert [list(partition.direct_inputs) for partition in cut.partitions] == [[], ["late"]]


async def test_preparations_measure_activation_errors_if_requested(bench):
    """Otherwise the field is absent."""
    maker = await bench.worker("a")
    answer = await prepared(maker, bench, skipping_mlp())
    cuts = [GraphCosts.from_json(answer.costs.decode()).legal_cuts[0]]
    request = CutRequest(prepared=answer.prepared, cuts=cuts)
    assert not (await maker.scheduler.stub.Cut(request)).HasField("activation_errors")
    request.measure_activation_errors = True
    found = (await maker.scheduler.stub.Cut(request)).activation_errors
    errors = {each.encoding: each.largest_error for each in found.measured}
    assert 0 < errors["fp16"] < errors["int8"] < 0.1


async def test_preparations_check_batching_if_requested(bench):
    """An unknown batching mode is refused."""
    maker = await bench.worker("a")
    answer = await prepared(maker, bench, skipping_mlp())
    cuts = [GraphCosts.from_json(answer.costs.decode()).legal_cuts[0]]

    def cut(**more):
        return maker.scheduler.stub.Cut(CutRequest(prepared=answer.prepared, cuts=cuts, **more))

    assert not any(partition.HasField("batching") for partition in (await cut()).partitions)
    made = await cut(batching=Batching(mode="on", max_rows=4))
    assert [partition.batching.max_rows for partition in made.partitions] == [4, 4]
    made = await cut(batching=Batching(mode="off"))
    assert [partition.batching.why_not for partition in made.partitions] == ["switched off"] * 2
    refused = await refusal(cut(batching=Batching(mode="of")))
    assert refused.message == "expected batching of auto, on, off; got 'of'"
