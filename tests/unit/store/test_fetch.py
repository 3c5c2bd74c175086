"""Blobs are downloaded complete and verified, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack

import grpc
import grpc.aio
import pytest

from onnxmesh.errors import CorruptData, InvalidRequest, NotFound, Unavailable
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.store.artefact import artefact_of
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.fetch import fetch_artefact
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.v1.blobs_pb2 import BlobPiece
from onnxmesh.v1.blobs_pb2_grpc import BlobsServicer, add_BlobsServicer_to_server
from onnxmesh.v1.model_pb2 import File

CONTENT = bytes(range(256)) * 10_000


class Canned(BlobsServicer):
    """Answers every request with these pieces, then breaks off or hangs."""

    def __init__(self, *pieces, breaks=False, hangs=False):
        self.pieces, self.breaks, self.hangs = pieces, breaks, hangs
        self.offsets = []

    async def Fetch(self, request, context):  # noqa: N802 - the protocol's name
        self.offsets.append(request.offset)
        for piece in self.pieces:
            yield BlobPiece(data=piece)
        if self.hangs:
            await asyncio.Event().wait()
        if self.breaks:
            raise Unavailable("broke off")


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
def here(tmp_path):
    return BlobFolder(tmp_path / "here")


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


def half_written(folder):
    return list((folder.path(DIGEST).parent.parent / "incoming").iterdir())


async def test_fetch_downloads_a_blob_in_chunks(serve, here, there):
    await fetch_artefact(ARTEFACT, here, [await serve(BlobFolderServicer(there))])
    assert here.path(DIGEST).read_bytes() == CONTENT


async def test_fetch_skips_stored_blobs(here, there):
    await fetch_artefact(ARTEFACT, there, ["127.0.0.1:1"])


async def test_fetch_skips_sources_without_the_blob_and_dead_ones(serve, here, there, tmp_path):
    empty = await serve(BlobFolderServicer(BlobFolder(tmp_path / "empty")))
    await fetch_artefact(ARTEFACT, here, [empty, "127.0.0.1:1", await serve(BlobFolderServicer(there))])
    assert here.has(DIGEST)


async def test_fetch_resumes_at_the_next_source(serve, here):
    broken, rest = Canned(CONTENT[:1000], breaks=True), Canned(CONTENT[1000:])
    await fetch_artefact(ARTEFACT, here, [await serve(broken), await serve(rest)])
    assert rest.offsets == [1000]
    assert here.path(DIGEST).read_bytes() == CONTENT


async def test_fetch_gives_up_a_source_that_sends_nothing(serve, here, there):
    hanging = await serve(Canned(CONTENT[:1000], hangs=True))
    await fetch_artefact(
        ARTEFACT, here, [hanging, await serve(BlobFolderServicer(there))], idle_timeout_s=0.2
    )
    assert here.has(DIGEST)


async def test_fetch_starts_again_after_damaged_content(serve, here, there):
    damaged = await serve(Canned(b"x" * len(CONTENT)))
    await fetch_artefact(ARTEFACT, here, [damaged, await serve(BlobFolderServicer(there))])
    assert here.path(DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"x" * len(CONTENT), CONTENT[:-1], CONTENT + b"x", b""])
async def test_fetch_of_damaged_content_alone_fails_and_leaves_nothing(serve, here, content):
    address = await serve(Canned(content))
    with pytest.raises(CorruptData, match=f"{DIGEST} of 'm.onnx' was received damaged.*{address}"):
        await fetch_artefact(ARTEFACT, here, [address])
    assert not here.has(DIGEST)
    assert not half_written(here)


async def test_fetch_names_all_sources_without_the_blob(serve, here, tmp_path):
    empty = await serve(BlobFolderServicer(BlobFolder(tmp_path / "empty")))
    with pytest.raises(NotFound, match=f"{DIGEST}.*{empty}"):
        await fetch_artefact(ARTEFACT, here, [empty])


async def test_fetch_without_a_reachable_source_is_unavailable(here):
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await fetch_artefact(ARTEFACT, here, ["127.0.0.1:1"])
    with pytest.raises(Unavailable, match="there is no source"):
        await fetch_artefact(ARTEFACT, here, [])


async def test_fetch_refuses_an_unsafe_artefact(here):
    artefact = type(ARTEFACT)()
    artefact.CopyFrom(ARTEFACT)
    artefact.files[0].path = "../m.onnx"
    with pytest.raises(InvalidRequest):
        await fetch_artefact(artefact, here, ["127.0.0.1:1"])


async def test_fetch_that_is_cancelled_leaves_nothing(serve, here):
    hanging = Canned(CONTENT[:1000], hangs=True)
    address = await serve(hanging)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await fetch_artefact(ARTEFACT, here, [address])
    assert not half_written(here)
