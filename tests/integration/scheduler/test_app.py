"""The scheduler service, without Consul."""

from __future__ import annotations

import grpc.aio
import pytest

from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.v1.mesh_pb2 import StatusRequest
from onnxmesh.v1.mesh_pb2_grpc import MeshStub
from services.scheduler.app import scheduler_app


async def test_scheduler_app_serves_until_its_context_ends(settings):
    async with scheduler_app(settings) as serving, open_channel(serving.address) as channel:
        assert (await MeshStub(channel).Status(StatusRequest())).epoch > 0
    async with open_channel(serving.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await MeshStub(channel).Status(StatusRequest())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
