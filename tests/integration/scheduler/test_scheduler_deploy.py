"""Deploying through the real gRPC edge, with workers that answer as told."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest

from onnxmesh.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidModel,
    InvalidPlan,
    InvalidRequest,
    NotFound,
    TooLarge,
    Unavailable,
    Unsatisfiable,
)
from onnxmesh.v1.mesh_pb2 import DeployProgress, DeployRequest, FileStart, Upload
from onnxmesh.v1.model_pb2 import DeploymentSpec
from services.scheduler.app import scheduler_app
from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker
from tests.integration.scheduler.scheduler_client import SchedulerClient, upload


async def test_a_model_goes_through_every_phase_and_is_served_by_both_workers(mesh):
    async with mesh("a", "b") as (client, _a, _b):
        answers = await client.send(upload(stages=2))
        assert [answer.phase for answer in answers] == [
            DeployProgress.ACCEPTED,
            DeployProgress.RECEIVED,
            DeployProgress.PREPARING,
            DeployProgress.CUTTING,
            DeployProgress.LOADING,
            DeployProgress.READY,
        ]
        model = answers[-1].model
        assert (model.state, model.version, model.spec.replicas) == ("READY", 1, 1)
        assert (model.plan.optimisation, model.plan.cpu_class) == ("all", "x86")
        assert {replica.worker for replica in model.replicas} == {"a", "b"}
        await eventually(lambda: client.routes == {"m/1": [{"a"}, {"b"}]})
        assert client.tables[-1].models[0].signature.inputs[0].name == "x"


async def test_the_scheduler_alone_can_serve_the_partitions(mesh):
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=2)
        await a.die()
        await eventually(lambda: client.routes == {"m/1": [{"b"}, {"b"}]})
        assert len(b.held) == 2


async def test_the_same_deploy_again_changes_nothing(mesh):
    async with mesh("a") as (client, a):
        first = await client.deploy()
        epoch, commands = (await client.status()).epoch, list(a.commands)
        again = await client.deploy()
        assert again.version == first.version == 1
        assert ((await client.status()).epoch, a.commands) == (epoch, commands)


async def test_other_content_becomes_the_next_version_and_both_are_served(mesh):
    async with mesh("a", "b") as (client, _a, _b):
        await client.deploy(b"one")
        assert (await client.deploy(b"two")).version == 2
        await eventually(lambda: client.routes.keys() == {"m/1", "m/2"})
        assert (await client.deploy(b"one")).version == 1
        assert (await client.deploy(b"two", version=7)).version == 7


async def test_a_version_that_is_taken_by_other_content_is_a_conflict(mesh, blobs):
    async with mesh("a") as (client, _a):
        await client.deploy(b"one")
        before = blobs()
        with pytest.raises(Conflict, match="version 1"):
            await client.deploy(b"two", version=1)
        assert blobs() == before


async def test_deploys_of_one_name_at_once_take_turns(mesh):
    async with mesh("a") as (client, _a):
        models = await asyncio.gather(*(client.deploy(content) for content in (b"1", b"2", b"1", b"2")))
        assert sorted(model.version for model in models) == [1, 1, 2, 2]


async def test_without_a_worker_nothing_can_be_deployed(mesh, blobs):
    async with mesh() as (client,):
        with pytest.raises(Unsatisfiable, match="no worker has joined the mesh"):
            await client.deploy()
        assert blobs() == set()


async def test_a_tag_that_nobody_has_is_named_with_who_lacks_it(mesh):
    async with mesh("a", "b") as (client, _a, _b):
        with pytest.raises(Unsatisfiable, match=r"'gpu', 'zone=x'.*a lacks gpu, zone=x; b lacks gpu, zone=x"):
            await client.deploy(require=["zone=x", "gpu"])


async def test_more_replicas_than_workers_are_refused(mesh):
    async with mesh("a") as (client, _a):
        with pytest.raises(Unsatisfiable, match=r"2 replicas .* 1 of the CPU class 'x86' can run them: a"):
            await client.deploy(replicas=2)


async def test_replicas_and_more_stages_than_workers_work(mesh):
    async with mesh("a", "b") as (client, _a, _b):
        await client.deploy(stages=4, replicas=2)
        await eventually(lambda: client.routes == {"m/1": [{"a", "b"}] * 4})


async def test_stages_are_chosen_where_none_are_asked_for(mesh):
    async with mesh("a", "b") as (client, _a, _b):
        assert len((await client.deploy()).plan.partitions) == 2


async def test_more_stages_than_the_graph_has_cuts_are_refused(mesh, blobs):
    async with mesh("a") as (client, _a):
        with pytest.raises(InvalidPlan, match="at most 8 stages; 9"):
            await client.deploy(stages=9)
        assert blobs() == set()


async def test_what_a_worker_says_against_a_model_reaches_the_client(mesh, blobs):
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(b"good")
        before, routes = blobs(), client.routes
        for worker in (a, b):
            worker.refuse[b"bad"] = InvalidModel("model.onnx is not ONNX")
        with pytest.raises(InvalidModel, match="is not ONNX"):
            await client.deploy(b"bad")
        assert (blobs(), client.routes) == (before, routes)
        assert sum(worker.calls.count("Prepare") for worker in (a, b)) == 2


async def test_a_worker_that_dies_while_it_prepares_is_replaced(mesh):
    async with mesh("a", "b") as (client, a, b):
        a.preparing.clear()
        deploying = asyncio.ensure_future(client.deploy(stages=2))
        await eventually(lambda: a.calls)
        await a.die()
        await deploying
        assert b.calls == ["Prepare", "Cut"]
        await eventually(lambda: client.routes == {"m/1": [{"b"}, {"b"}]})


async def test_a_stage_that_fails_withdraws_its_deployment_alone(mesh, blobs):
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(b"good")
        before = blobs()
        for worker in (a, b):
            worker.fail["bad/1/1"] = InvalidModel("cannot be loaded")
        with pytest.raises(InvalidModel, match=r"stage 'bad/1/1' failed on worker '[ab]': cannot be loaded"):
            await client.deploy(b"bad", name="bad", stages=2)
        assert [model.name for model in (await client.status()).models] == ["m"]
        await eventually(lambda: client.routes.keys() == {"m/1"} and blobs() == before)
        await eventually(lambda: not any(key.startswith("bad") for w in (a, b) for key in w.held))


async def test_a_failure_that_may_pass_is_tried_elsewhere(mesh):
    async with mesh("a", "b") as (client, a, _b):
        a.fail["m/1/0"] = Unavailable("no room now")
        await client.deploy(stages=1)
        await eventually(lambda: client.routes == {"m/1": [{"b"}]})
        assert a.commands == ["place m/1/0"]


async def test_a_deploy_that_takes_too_long_is_withdrawn(settings, tmp_path, blobs):
    settings = settings.model_copy(update={"deploy_timeout_s": 0.3})
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        FakeWorker("a", serving.address, tmp_path) as a,
    ):
        await client.joined(a)
        a.loading.clear()
        with pytest.raises(DeadlineExceeded, match=r"longer than 0\.3 s; it was at: \w"):
            await client.deploy(stages=1)
        assert not (await client.status()).models
        await eventually(lambda: not blobs())


async def test_undeploy_takes_a_model_from_the_table_and_from_workers(mesh, blobs):
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(b"one", stages=2)
        await client.deploy(b"two", stages=2)
        assert await client.undeploy("m", 1) == [1]
        await eventually(lambda: client.routes.keys() == {"m/2"} and len(a.held) + len(b.held) == 2)
        assert await client.undeploy("m") == [2]
        await eventually(lambda: client.routes == {} and not a.held and not b.held and not blobs())


async def test_undeploy_of_what_is_not_there_says_what_is(mesh):
    async with mesh("a") as (client, _a):
        with pytest.raises(NotFound, match="model 'm' is not deployed: there is no model at all"):
            await client.undeploy("m")
        await client.deploy()
        with pytest.raises(NotFound, match="model 'n' is not deployed: deployed models are 'm'"):
            await client.undeploy("n")
        with pytest.raises(NotFound, match="has no version 2: deployed versions are 1"):
            await client.undeploy("m", 2)


async def test_a_client_that_goes_away_before_it_is_written_down_leaves_nothing(mesh, blobs):
    async with mesh("a") as (client, a):
        a.preparing.clear()
        call = client.stub.Deploy(iter(upload()))
        await eventually(lambda: a.calls)
        assert blobs()
        call.cancel()
        await eventually(lambda: not blobs())
        a.preparing.set()
        assert not (await client.status()).models
        await client.deploy()


async def test_a_client_that_goes_away_afterwards_has_deployed(mesh):
    async with mesh("a") as (client, a):
        a.loading.clear()
        call = client.stub.Deploy(iter(upload(stages=1)))
        await eventually(lambda: a.commands)
        call.cancel()
        a.loading.set()
        await eventually(lambda: client.routes == {"m/1": [{"a"}]})


SPEC = DeployRequest(spec=DeploymentSpec(name="m"))
START = DeployRequest(file=FileStart(path="m.onnx", byte_size=3))
DATA = DeployRequest(data=b"abc")
END = DeployRequest(end=Upload(num_files=1))

BROKEN = {
    "nothing": ([], "its end is missing"),
    "no end": ([SPEC, START, DATA], "its end is missing"),
    "cut in a file": ([SPEC, START, DeployRequest(data=b"ab")], "its end is missing"),
    "no spec": ([START, DATA, END], "first message of an upload is the spec, got 'file'"),
    "two specs": ([SPEC, SPEC], "one spec"),
    "an empty message": ([SPEC, DeployRequest()], "is empty"),
    "data without a file": ([SPEC, DATA, END], "data was sent before the file"),
    "too little data": ([SPEC, START, END], "announced with 3 bytes, got 0"),
    "too much data": ([SPEC, START, DATA, DATA, END], "announced with 3 bytes, got more"),
    "the same file twice": ([SPEC, START, DATA, START, DATA, END], "sent twice"),
    "a wrong count": ([SPEC, START, DATA, DeployRequest(end=Upload(num_files=2))], "counts 2 files, got 1"),
    "no file": ([SPEC, DeployRequest(end=Upload())], "found none: no file at all"),
    "no model": (upload(files={"readme.txt": b"hi"}), "found none: 'readme.txt'"),
    "two models": (upload(files={"a.onnx": b"a", "b.onnx": b"b"}), "more than one: 'a.onnx', 'b.onnx'"),
    "a model below the top": (upload(files={"sub/a.onnx": b"a"}), "found none: 'sub/a.onnx'"),
    "a path out of the folder": (upload(files={"m.onnx": b"a", "../x": b"b"}), "must be relative"),
    "an absolute path": (upload(files={"m.onnx": b"a", "/etc/x": b"b"}), "must be relative"),
    "a backslash": (upload(files={"m.onnx": b"a", "a\\b": b"b"}), "backslash"),
    "a file that is a folder too": (upload(files={"m.onnx": b"a", "m.onnx/b": b"b"}), "and, in"),
    "a bad name": (upload(name="../m"), "got '../m'"),
    "no name": (upload(name=""), "got ''"),
    "too many stages": (upload(stages=65), "at most 64 stages, got 65"),
    "a bad requirement": (upload(require=["a b"]), "selector 'a b', character 3"),
    "an unknown level": (upload(optimisation="max"), "one of auto, none, basic, extended, all; got 'max'"),
}


@pytest.mark.parametrize(("messages", "complaint"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_upload_is_named_and_leaves_nothing(mesh, blobs, messages, complaint):
    async with mesh("a") as (client, a):
        with pytest.raises(InvalidRequest) as caught:
            await client.send(messages)
        assert complaint in caught.value.message
        await eventually(lambda: not blobs())
        assert not a.calls


async def test_an_upload_whose_client_vanishes_leaves_nothing(mesh, blobs):
    async with mesh("a") as (client, _a):
        call = client.stub.Deploy()
        for message in (SPEC, START):
            await call.write(message)
        await eventually(blobs)
        call.cancel()
        await eventually(lambda: not blobs())
        await client.deploy()


async def test_an_upload_over_the_limit_is_refused(settings, tmp_path):
    settings = settings.model_copy(update={"max_upload_bytes": 2})
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        FakeWorker("a", serving.address, tmp_path) as worker,
    ):
        await client.joined(worker)
        with pytest.raises(TooLarge, match="more than the allowed 2 bytes"):
            await client.deploy(b"abc")


async def test_a_file_of_no_bytes_is_a_file(mesh):
    async with mesh("a") as (client, _a):
        await client.send(upload(files={"m.onnx": b"model", "empty.bin": b"", "sub/w.bin": b"w"}))
        await eventually(lambda: client.routes.keys() == {"m/1"})


async def test_an_error_has_the_status_and_reason_of_its_class(mesh):
    async with mesh() as (client,):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in client.stub.Deploy(iter(upload())):
                pass
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
