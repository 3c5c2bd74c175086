"""A gateway that receives changes of its route table, over real sockets."""

from __future__ import annotations

import asyncio
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from onnxmesh.client import MeshClient
from onnxmesh.v1 import mesh_pb2
from tests.eventually import eventually
from tests.fakes.fake_scheduler import FakeScheduler
from tests.integration.gateway.running_gateway import request_of, running_gateway

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def table_of(gateway):
    async with MeshClient(gateway.address) as client:
        return await client.route_table()


async def until(gateway, condition):
    """Returns the gateway's own report of its table once the condition holds."""
    while not condition(table := await table_of(gateway)):
        pass
    return table


async def health_of(gateway, service):
    request = health_pb2.HealthCheckRequest(service=service)
    return (await health_pb2_grpc.HealthStub(gateway.channel).Check(request, timeout=300)).status


def value(gateway, name, **labels):
    return gateway.serving.registry.get_sample_value(f"onnxmesh_gateway_{name}", labels)


async def test_route_watch_follows_changes_on_one_stream():
    """Models and workers come and go; the table is sent whole once."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"))
        await gateway.publish(gateway.routed("a"), gateway.routed("ab", name="n"))
        await gateway.publish(gateway.routed("b", name="n"))
        await gateway.infer(request_of(model="n"))
        assert gateway.workers["b"].activations
        with pytest.raises(grpc.aio.AioRpcError, match="unknown model 'm': deployed models are 'n'"):
            await gateway.infer(request_of())
        assert gateway.scheduler.num_watches == 1
        found = await table_of(gateway)
        assert (found.epoch, found.num_models, found.num_workers, found.stale) == (3, 1, 1, False)
        assert found.scheduler == gateway.scheduler.address


async def test_route_watch_requests_the_whole_table_after_a_missed_change():
    """Whatever was missed is then there."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"))
        change = mesh_pb2.RouteChange(from_epoch=7, epoch=8, models=[gateway.routed("b", name="missed")])
        gateway.scheduler.send_update(mesh_pb2.RouteUpdate(change=change))
        await eventually(lambda: gateway.scheduler.num_watches == 2)
        await gateway.publish(gateway.routed("a"), gateway.routed("b", name="n"))
        with pytest.raises(grpc.aio.AioRpcError, match="unknown model 'missed'"):
            await gateway.infer(request_of(model="missed"))
        assert gateway.scheduler.num_watches == 2


async def test_route_watch_keeps_its_table_where_a_scheduler_dies_before_sending_the_whole():
    """The gateway waits for it, reports that its table is stale, and continues to serve."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"))
        await until(gateway, lambda table: not table.stale)
        gateway.scheduler.send_update(
            mesh_pb2.RouteUpdate(change=mesh_pb2.RouteChange(from_epoch=7, epoch=8))
        )
        await gateway.stop_scheduler.aclose()
        await until(gateway, lambda table: table.stale)
        await gateway.infer(request_of())


async def test_route_watch_ignores_outdated_changes_and_those_of_a_later_release():
    """A message of a kind that is not known here costs a new stream, nothing else."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"))
        await gateway.publish(gateway.routed("a"))
        old = mesh_pb2.RouteChange(
            from_epoch=1, epoch=2, removed_models=[mesh_pb2.ModelVersion(name="m", version=1)]
        )
        gateway.scheduler.send_update(mesh_pb2.RouteUpdate(change=old))
        gateway.scheduler.send_update(mesh_pb2.RouteUpdate())
        await gateway.publish(gateway.routed("a"), gateway.routed("b", name="n"))
        await gateway.infer(request_of())
        assert gateway.scheduler.num_watches == 2


async def test_draining_worker_finishes_its_requests():
    """The request that it holds is answered by it, new ones go elsewhere; once the table lists it no longer, its link is closed."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"), workers=[mesh_pb2.RoutedWorker(worker="a")])
        gateway.workers["a"].holding = True
        call = gateway.infer(request_of())
        await eventually(lambda: gateway.workers["a"].activations)
        leaving = [mesh_pb2.RoutedWorker(worker="a", leaving=True), mesh_pb2.RoutedWorker(worker="b")]
        gateway.scheduler.publish(gateway.routed("b"), workers=leaving)
        await until(gateway, lambda table: table.epoch == 2)
        await gateway.infer(request_of())
        assert len(gateway.workers["b"].activations) == 1
        gateway.workers["a"].release()
        await call
        assert len(gateway.workers["b"].activations) == 1
        gateway.scheduler.publish(gateway.routed("b"), workers=leaving[1:])
        assert (await until(gateway, lambda table: table.epoch == 3)).num_workers == 1


async def test_stale_route_table_is_shown_by_status_health_and_metrics():
    """In health, metrics and its own report; models stay SERVING, and requests are answered on."""
    async with running_gateway(metrics="127.0.0.1:0") as gateway:
        assert await health_of(gateway, "mesh.routes") == NOT_SERVING
        assert (await table_of(gateway)).epoch == 0
        await gateway.publish(gateway.routed("a"))
        await until(gateway, lambda table: not table.stale)
        assert await health_of(gateway, "mesh.routes") == SERVING
        assert value(gateway, "route_table_stale") == 0
        assert value(gateway, "scheduler_unheard_seconds") == 0
        port = int(gateway.scheduler.address.rpartition(":")[2])
        await gateway.stop_scheduler.aclose()
        found = await until(gateway, lambda table: table.stale)
        assert (found.epoch, found.num_models) == (1, 1)
        assert found.alone_ms > 0
        await eventually_health(gateway, NOT_SERVING)
        for service in ("", "mesh.model/m"):
            assert await health_of(gateway, service) == SERVING
        await gateway.infer(request_of())
        assert value(gateway, "route_table_stale") == 1
        assert value(gateway, "scheduler_unheard_seconds") > 0
        async with FakeScheduler().running(port) as successor:
            gateway.scheduler = successor
            await gateway.publish(gateway.routed("a"))
            await until(gateway, lambda table: not table.stale)
            await eventually_health(gateway, SERVING)
            assert value(gateway, "route_table_stale") == 0


async def eventually_health(gateway, status):
    while await health_of(gateway, "mesh.routes") != status:
        pass


async def test_requests_are_counted_in_prometheus_metrics():
    """By model, version and status; what failed before its model was known has neither."""
    async with running_gateway(metrics="127.0.0.1:0") as gateway:
        await gateway.publish(gateway.routed("ab"))
        for _ in range(3):
            await gateway.infer(request_of())
        for model in ("unknown", "m"):
            request = request_of(model=model)
            request.inputs[0].shape[0] = 7
            with pytest.raises(grpc.aio.AioRpcError):
                await gateway.infer(request)
        assert value(gateway, "requests_total", model="m", version="1", code="OK") == 3
        assert value(gateway, "requests_total", model="m", version="1", code="INVALID_ARGUMENT") == 1
        assert value(gateway, "requests_total", model="", version="", code="NOT_FOUND") == 1
        assert value(gateway, "requests_in_flight") == 0
        assert value(gateway, "attempts_retried_total") == 0
        assert value(gateway, "route_table_epoch") == 1
        text = await scraped(gateway.serving.metrics_address)
        served = {family.name for family in text_string_to_metric_families(text)}
        assert {"onnxmesh_gateway_requests", "onnxmesh_gateway_replicas_ejected"} <= served
        gateway.scheduler.publish()
        await until(gateway, lambda table: table.epoch == 2)
        assert value(gateway, "requests_total", model="m", version="1", code="OK") is None


async def test_retries_are_counted_in_prometheus_metrics():
    """Once for each further attempt."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("ab"))
        for worker in gateway.workers.values():
            worker.holding = True
        call = gateway.infer(request_of())
        await eventually(lambda: any(worker.activations for worker in gateway.workers.values()))
        (first,) = [worker for worker in gateway.workers.values() if worker.activations]
        (second,) = [worker for worker in gateway.workers.values() if worker is not first]
        await first.kill()
        await eventually(lambda: second.activations)
        second.release()
        await call
        assert value(gateway, "attempts_retried_total") == 1


async def scraped(address):
    def get():
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=300) as answer:
            return answer.read().decode()

    return await asyncio.to_thread(get)
