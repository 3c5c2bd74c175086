"""The Blobs service refuses bad requests."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack

import grpc
import grpc.aio
import pytest

from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.store.artefact import artefact_of
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.v1.blobs_pb2 import FetchRequest
from onnxmesh.v1.blobs_pb2_grpc import BlobsStub, add_BlobsServicer_to_server
from onnxmesh.v1.model_pb2 import File

CONTENT = bytes(range(256)) * 10_000


@pytest.fixture
async def serve():
    """Serves servicers; returns their addresses."""
    async with AsyncExitStack() as stack:

        async def start(servicer):
            server = grpc.aio.server(interceptors=[ErrorInterceptor()])
            port = server.add_insecure_port("127.0.0.1:0")
            add_BlobsServicer_to_server(servicer, server)
            await server.start()
            stack.push_async_callback(server.stop, None)
            return f"127.0.0.1:{port}"

        yield start


@pytest.fixture
def there(tmp_path):
    folder = BlobFolder(tmp_path / "there")
    with folder.writer() as writer:
        writer.write(CONTENT)
        writer.commit()
    return folder


ARTEFACT = artefact_of(
    [File(path="m.onnx", sha256=hashlib.sha256(CONTENT).hexdigest(), byte_size=len(CONTENT))]
)


DIGEST = ARTEFACT.files[0].sha256


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (FetchRequest(sha256="../../etc/passwd"), grpc.StatusCode.INVALID_ARGUMENT),
        (FetchRequest(sha256="0" * 64), grpc.StatusCode.NOT_FOUND),
        (FetchRequest(sha256=DIGEST, offset=len(CONTENT) + 1), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_servicer_refuses_bad_requests_with_their_status(serve, there, request_, code):
    async with open_channel(await serve(BlobFolderServicer(there))) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await BlobsStub(channel).Fetch(request_).read()
        assert caught.value.code() is code
