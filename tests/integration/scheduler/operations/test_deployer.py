"""Deployments through the real gRPC service, with fake workers."""

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
    NotFound,
    Unavailable,
    Unsatisfiable,
)
from onnxmesh.v1.mesh_pb2 import DeployProgress
from services.scheduler.app import scheduler_app
from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker
from tests.integration.scheduler.scheduler_client import SchedulerClient, upload


async def test_deploy_goes_through_every_phase_and_uses_both_workers(mesh):
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


async def test_deploy_needs_no_worker_but_the_scheduler_for_its_partitions(mesh):
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=2)
        await a.die()
        await eventually(lambda: client.routes == {"m/1": [{"b"}, {"b"}]})
        assert len(b.held) == 2


async def test_deploy_of_the_same_again_changes_nothing(mesh):
    async with mesh("a") as (client, a):
        first = await client.deploy()
        epoch, commands = (await client.status()).epoch, list(a.commands)
        again = await client.deploy()
        assert again.version == first.version == 1
        assert ((await client.status()).epoch, a.commands) == (epoch, commands)


async def test_deploy_of_other_content_is_the_next_version(mesh):
    async with mesh("a", "b") as (client, _a, _b):
        await client.deploy(b"one")
        assert (await client.deploy(b"two")).version == 2
        await eventually(lambda: client.routes.keys() == {"m/1", "m/2"})
        assert (await client.deploy(b"one")).version == 1
        assert (await client.deploy(b"two", version=7)).version == 7


async def test_deploy_of_a_version_with_other_content_is_a_conflict(mesh, blobs):
    async with mesh("a") as (client, _a):
        await client.deploy(b"one")
        before = blobs()
        with pytest.raises(Conflict, match="version 1"):
            await client.deploy(b"two", version=1)
        assert blobs() == before


async def test_deploys_of_one_name_run_one_after_another(mesh):
    async with mesh("a") as (client, _a):
        models = await asyncio.gather(*(client.deploy(content) for content in (b"1", b"2", b"1", b"2")))
        assert sorted(model.version for model in models) == [1, 1, 2, 2]


async def test_deploy_without_a_worker_is_refused(mesh, blobs):
    async with mesh() as (client,):
        with pytest.raises(Unsatisfiable, match="no worker has joined the mesh"):
            await client.deploy()
        assert blobs() == set()


async def test_deploy_names_the_tags_that_each_worker_lacks(mesh):
    async with mesh("a", "b") as (client, _a, _b):
        with pytest.raises(Unsatisfiable, match=r"'gpu', 'zone=x'.*a lacks gpu, zone=x; b lacks gpu, zone=x"):
            await client.deploy(require=["zone=x", "gpu"])


async def test_deploy_of_more_replicas_than_workers_is_refused(mesh):
    async with mesh("a") as (client, _a):
        with pytest.raises(Unsatisfiable, match=r"2 replicas .* 1 of the CPU class 'x86' can run them: a"):
            await client.deploy(replicas=2)


async def test_deploy_of_replicas_and_more_stages_than_workers(mesh):
    async with mesh("a", "b") as (client, _a, _b):
        await client.deploy(stages=4, replicas=2)
        await eventually(lambda: client.routes == {"m/1": [{"a", "b"}] * 4})


async def test_deploy_chooses_the_number_of_stages(mesh):
    async with mesh("a", "b") as (client, _a, _b):
        assert len((await client.deploy()).plan.partitions) == 2


async def test_deploy_of_more_stages_than_cuts_is_refused(mesh, blobs):
    async with mesh("a") as (client, _a):
        with pytest.raises(InvalidPlan, match="at most 8 stages, got 9"):
            await client.deploy(stages=9)
        assert blobs() == set()


async def test_deploy_reports_why_a_worker_refuses_the_model(mesh, blobs):
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(b"good")
        before, routes = blobs(), client.routes
        for worker in (a, b):
            worker.refuse[b"bad"] = InvalidModel("model.onnx is not ONNX")
        with pytest.raises(InvalidModel, match="is not ONNX"):
            await client.deploy(b"bad")
        assert (blobs(), client.routes) == (before, routes)
        assert sum(worker.calls.count("Prepare") for worker in (a, b)) == 2


async def test_deploy_continues_on_another_worker_when_the_preparing_one_dies(mesh):
    async with mesh("a", "b") as (client, a, b):
        a.preparing.clear()
        deploying = asyncio.ensure_future(client.deploy(stages=2))
        await eventually(lambda: a.calls)
        await a.die()
        await deploying
        assert b.calls == ["Prepare", "Cut"]
        await eventually(lambda: client.routes == {"m/1": [{"b"}, {"b"}]})


async def test_deploy_with_a_failed_stage_is_withdrawn_alone(mesh, blobs):
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


async def test_deploy_tries_a_stage_elsewhere_after_a_failure_that_may_pass(mesh):
    async with mesh("a", "b") as (client, a, _b):
        a.fail["m/1/0"] = Unavailable("no memory now")
        await client.deploy(stages=1)
        await eventually(lambda: client.routes == {"m/1": [{"b"}]})
        assert a.commands == ["place m/1/0"]


async def test_deploy_that_takes_too_long_is_withdrawn(settings, tmp_path, blobs):
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


async def test_undeploy_removes_a_model_from_the_table_and_from_workers(mesh, blobs):
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(b"one", stages=2)
        await client.deploy(b"two", stages=2)
        assert await client.undeploy("m", 1) == [1]
        await eventually(lambda: client.routes.keys() == {"m/2"} and len(a.held) + len(b.held) == 2)
        assert await client.undeploy("m") == [2]
        await eventually(lambda: client.routes == {} and not a.held and not b.held and not blobs())


async def test_undeploy_of_an_unknown_model_names_the_models_there_are(mesh):
    async with mesh("a") as (client, _a):
        with pytest.raises(NotFound, match="model 'm' is not deployed: there is no model at all"):
            await client.undeploy("m")
        await client.deploy()
        with pytest.raises(NotFound, match="model 'n' is not deployed: deployed models are 'm'"):
            await client.undeploy("n")
        with pytest.raises(NotFound, match="has no version 2: deployed versions are 1"):
            await client.undeploy("m", 2)


async def test_deploy_ends_without_its_client_before_it_is_saved(mesh, blobs):
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


async def test_deploy_goes_on_without_its_client_once_it_is_saved(mesh):
    async with mesh("a") as (client, a):
        a.loading.clear()
        call = client.stub.Deploy(iter(upload(stages=1)))
        await eventually(lambda: a.commands)
        call.cancel()
        a.loading.set()
        await eventually(lambda: client.routes == {"m/1": [{"a"}]})


async def test_deploy_error_has_the_status_of_its_class(mesh):
    async with mesh() as (client,):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in client.stub.Deploy(iter(upload())):
                pass
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
