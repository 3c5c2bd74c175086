"""Requests that say where they want to run, and a gateway that says why they ran there: over real sockets."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest

from onnxmesh.client import MeshClient
from onnxmesh.errors import InvalidRequest, NotFound, Unsatisfiable
from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.v1.mesh_pb2 import ExplainRequest, RoutedWorker
from tests.fakes.delaying_proxy import delaying_proxy
from tests.integration.gateway.running_gateway import request_of, running_gateway

WORKERS = (
    RoutedWorker(worker="a", tags=["gpu"], attributes={"zone": "east", "gpu.memory_gb": "80"}),
    RoutedWorker(worker="b", tags=["edge"], attributes={"zone": "west"}),
)


def asking(**parameters):
    request = request_of()
    for name, value in parameters.items():
        request.parameters[f"mesh.{name}"].string_param = value
    return request


async def test_request_runs_on_workers_that_meet_its_requirements():
    """Every time, whichever worker is nearer or less busy."""
    async with running_gateway(zone="west") as gateway:
        await gateway.publish(gateway.routed("ab"), workers=WORKERS)
        for _ in range(20):
            await gateway.infer(asking(require="gpu.memory_gb >= 24, !spot"))
        assert len(gateway.workers["a"].activations) == 20
        assert not gateway.workers["b"].activations


async def test_request_without_a_satisfying_worker_is_refused():
    """The error names what each worker lacks, as FAILED_PRECONDITION."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("ab"), workers=WORKERS)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.infer(asking(require="tpu, edge"))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        error = from_rpc_error(caught.value)
        assert isinstance(error, Unsatisfiable)
        assert error.message == (
            "model 'm' version 1: no worker of stage 0 satisfies 'tpu, edge': a lacks tpu, edge; b lacks tpu"
        )


async def test_request_stays_in_its_zone():
    """With both zones idle only requests that refresh measurements cross; when the near zone is lost, all requests do."""
    async with running_gateway(zone="west") as gateway:
        await gateway.publish(gateway.routed("ab"), workers=WORKERS)
        for _ in range(100):
            await gateway.infer(request_of())
        assert len(gateway.workers["b"].activations) >= 95
        await gateway.workers["b"].kill()
        before = len(gateway.workers["a"].activations)
        for _ in range(10):
            await gateway.infer(request_of())
        assert len(gateway.workers["a"].activations) == before + 10


async def test_explain_shows_the_score_of_each_replica():
    """By name, rule and figures; nothing runs for it."""
    async with running_gateway(zone="west", id="g") as gateway, MeshClient(gateway.address) as client:
        await gateway.publish(gateway.routed("ab"), workers=WORKERS)
        for _ in range(3):
            await gateway.infer(asking(require="gpu"))
        await gateway.infer(asking(require="edge"))
        num_run = [len(worker.activations) for worker in gateway.workers.values()]
        found = await client.explain(ExplainRequest(name="m", require=["gpu"]))
        assert (found.gateway, found.version) == ("g", 1)
        (stage,) = found.stages
        verdicts = {replica.worker: replica for replica in stage.replicas}
        assert (verdicts["a"].picked, verdicts["a"].rule) == (True, "")
        assert verdicts["a"].compute_us == 2
        assert (verdicts["b"].rule, verdicts["b"].why) == ("requirement", "lacks 'gpu'")
        assert [verdicts[name].tier for name in "ab"] == [1, 0]
        elsewhere = await client.explain(ExplainRequest(name="m", from_zone="east", prefer=["gpu:100"]))
        verdicts = {replica.worker: replica for replica in elsewhere.stages[0].replicas}
        assert [verdicts[name].tier for name in "ab"] == [0, 1]
        assert verdicts["a"].bonus_us > 0
        assert [len(worker.activations) for worker in gateway.workers.values()] == num_run


async def test_explain_refuses_unknown_models_and_malformed_selectors():
    """With the same errors as an inference request."""
    async with running_gateway() as gateway, MeshClient(gateway.address) as client:
        await gateway.publish(gateway.routed("ab"), workers=WORKERS)
        with pytest.raises(NotFound, match="unknown model 'n'"):
            await client.explain(ExplainRequest(name="n"))
        with pytest.raises(InvalidRequest, match="character 5: expected"):
            await client.explain(ExplainRequest(name="m", require=["gpu !"]))


async def test_concurrent_requests_with_different_options_do_not_interfere():
    """Each request has its own requirement."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("ab"), workers=WORKERS)
        requirements = ["gpu", "edge"] * 50
        await asyncio.gather(*(gateway.infer(asking(require=each)) for each in requirements))
        assert [len(worker.activations) for worker in gateway.workers.values()] == [50, 50]


async def test_worker_with_the_shorter_link_is_preferred():
    """Both are in the gateway's own zone; they differ in measured round trips, which `explain` shows."""
    async with (
        running_gateway(same_host=False) as gateway,
        delaying_proxy(gateway.workers["a"].address, 0.05) as proxy,
        MeshClient(gateway.address) as client,
    ):
        gateway.workers["a"].address = proxy.address
        await gateway.publish(gateway.routed("ab"))

        async def transfers():
            (stage,) = (await client.explain(ExplainRequest(name="m"))).stages
            return {each.worker: each.transfer_us for each in stage.replicas if each.transfer_measured}

        measured = {}
        async with asyncio.timeout(30):
            while len(measured) < 2:
                for worker in gateway.workers.values():
                    worker.send_load()
                await asyncio.sleep(0.05)
                measured = await transfers()
        assert measured["a"] >= 50_000
        assert measured["b"] < measured["a"]
        for _ in range(100):
            await gateway.infer(request_of())
        assert len(gateway.workers["b"].activations) >= 95


async def test_requests_of_a_session_go_to_one_worker():
    """Requests of many sessions go to all; what requires another worker leaves its session's."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("ab"), workers=WORKERS)
        for _ in range(30):
            await gateway.infer(asking(session="s"))
        assert sorted(len(worker.activations) for worker in gateway.workers.values()) == [0, 30]
        for each in range(40):
            await gateway.infer(asking(session=f"s{each}"))
        assert min(len(worker.activations) for worker in gateway.workers.values()) > 0
        before = len(gateway.workers["a"].activations)
        for _ in range(5):
            await gateway.infer(asking(session="s", require="gpu"))
        assert len(gateway.workers["a"].activations) == before + 5
