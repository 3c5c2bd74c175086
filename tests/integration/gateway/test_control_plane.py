"""The gateway and its scheduler: routes followed, registration, control calls passed on."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from onnxmesh.errors import NotFound, Unavailable
from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.v1 import mesh_pb2
from onnxmesh.v1.mesh_pb2_grpc import MeshStub
from tests.eventually import eventually
from tests.fakes.fake_scheduler import FakeScheduler
from tests.integration.gateway.running_gateway import request_of, running_gateway


async def test_gateway_registers():
    """The mesh knows it under its own id and address."""
    async with running_gateway(id="gateway-x") as gateway:
        (instance,) = gateway.scheduler.instances.values()
        assert (instance.id, instance.role, instance.address) == ("gateway-x", "gateway", gateway.address)
        assert instance.generation > 0


async def test_gateway_serves_the_last_table_without_a_scheduler():
    """The scheduler is on no request's path; its successor is followed by itself."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"))
        port = int(gateway.scheduler.address.rpartition(":")[2])
        await gateway.stop_scheduler.aclose()
        await gateway.infer(request_of())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await MeshStub(gateway.channel).Status(mesh_pb2.StatusRequest(), timeout=20)
        error = from_rpc_error(caught.value)
        assert isinstance(error, Unavailable)
        assert f"the scheduler at 127.0.0.1:{port} cannot be reached" in error.message
        async with FakeScheduler().running(port) as successor:
            gateway.scheduler = successor
            await gateway.publish(gateway.routed("b", name="n"))
            await eventually(lambda: successor.instances)
            await gateway.infer(request_of(model="n"))
            await gateway.until_ready("m", ready=False)


async def test_gateway_refuses_a_table_of_a_later_release():
    """What is served is served on, and the next table that can be read is."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"))
        gateway.scheduler.publish(gateway.routed("a", inputs=(("x", "FP12", [1]),)))
        await gateway.publish(gateway.routed("a", name="n"), gateway.routed("a"))
        await gateway.infer(request_of())


async def test_attempts_on_a_worker_removed_from_the_table_fail():
    """Its stream still looks open; the request goes to the replica that is left."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("ab"))
        for worker in gateway.workers.values():
            worker.holding = True
        call = gateway.infer(request_of())
        await eventually(lambda: any(w.activations for w in gateway.workers.values()))
        (first,) = [worker for worker in gateway.workers.values() if worker.activations]
        (second,) = [worker for worker in gateway.workers.values() if worker is not first]
        gateway.scheduler.publish(gateway.routed(second.id))
        await eventually(lambda: second.activations)
        second.release()
        await call


async def test_proxy_forwards_status():
    """Deadline and metadata reach the scheduler, its answer comes back."""
    async with running_gateway() as gateway:
        await gateway.publish()
        answer = await MeshStub(gateway.channel).Status(
            mesh_pb2.StatusRequest(), timeout=20, metadata=(("x-tenant", "t"),)
        )
        assert answer.epoch == 1
        assert gateway.scheduler.metadata["x-tenant"] == "t"
        assert 0 < gateway.scheduler.deadlines[0] < 25


async def test_proxy_returns_an_error_with_its_details():
    """Status, text and details: the client rebuilds the scheduler's own error."""
    async with running_gateway() as gateway:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await MeshStub(gateway.channel).Undeploy(mesh_pb2.UndeployRequest(name="x"), timeout=20)
        error = from_rpc_error(caught.value)
        assert (type(error), error.message, error.retry_after_s) == (NotFound, "unknown model 'x'", 1.5)


async def test_proxy_refuses_an_unknown_method():
    """What the scheduler does not know is UNIMPLEMENTED, not a failure of the proxy."""
    async with running_gateway() as gateway:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.channel.unary_unary("/onnxmesh.v1.Mesh/Fly")(b"", timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_proxy_streams_an_upload_in_both_directions():
    """Progress comes back while files still go up; a large upload is not gathered anywhere."""
    async with running_gateway() as gateway:
        call = MeshStub(gateway.channel).Deploy()
        await call.write(mesh_pb2.DeployRequest(file=mesh_pb2.FileStart(path="model.onnx")))
        assert (await call.read()).message == "model.onnx"
        for _ in range(20):
            await call.write(mesh_pb2.DeployRequest(data=bytes(1 << 20)))
        await call.write(mesh_pb2.DeployRequest(end=mesh_pb2.Upload(num_files=1)))
        assert (await call.read()).phase == mesh_pb2.DeployProgress.READY
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        assert gateway.scheduler.uploads == [["file", *["data"] * 20, "end"]]


async def test_proxy_cancels_the_call_of_a_disconnected_client():
    """The scheduler sees the end of an upload that its client does not finish."""
    async with running_gateway() as gateway:
        call = MeshStub(gateway.channel).Deploy()
        await call.write(mesh_pb2.DeployRequest(file=mesh_pb2.FileStart(path="model.onnx")))
        await call.read()
        call.cancel()
        await eventually(lambda: gateway.scheduler.uploads[0][-1:] == ["disconnected"])


async def test_proxy_returns_the_reason_of_a_refused_upload():
    """The scheduler ends the call with an error: it arrives whole after any number of messages."""
    async with running_gateway() as gateway:
        gateway.scheduler.refuse_uploads = True
        call = MeshStub(gateway.channel).Deploy(timeout=20)
        for _ in range(20):
            await call.write(mesh_pb2.DeployRequest(data=bytes(1 << 20)))
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert isinstance(from_rpc_error(caught.value), NotFound)


async def test_proxy_forwards_watching_routes():
    """A stream of the scheduler stays open and ends with its client."""
    async with running_gateway() as gateway:
        gateway.scheduler.publish()
        call = MeshStub(gateway.channel).WatchRoutes(mesh_pb2.WatchRoutesRequest())
        assert (await call.read()).whole.epoch == 1
        gateway.scheduler.publish()
        assert (await call.read()).change.epoch == 2
        call.cancel()
