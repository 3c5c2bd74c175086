"""Every scheduler has the files of every deployment, and no others."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from onnxmesh.state.base import Deployment
from onnxmesh.state.embedded import open_deployments
from onnxmesh.store.artefact import artefact_of
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.v1.blobs_pb2_grpc import add_BlobsServicer_to_server
from onnxmesh.v1.model_pb2 import DeploymentSpec, File, Partition, Plan
from services.scheduler.deployments.retention import Retention
from services.scheduler.leadership.blob_mirror import BlobMirror
from tests.contract.running import running
from tests.eventually import eventually


def write(blobs, content):
    """Writes one file and returns it as an artefact."""
    with blobs.writer() as writer:
        writer.write(content)
        digest = writer.digest()
        writer.commit()
    return artefact_of([File(path="model.onnx", sha256=digest, byte_size=len(content))])


def deployment(source, *partitions, version=1):
    plan = Plan(partitions=[Partition(index=i, artefact=each) for i, each in enumerate(partitions)])
    return Deployment(DeploymentSpec(name="m", version=version), plan, source)


@asynccontextmanager
async def serving(blobs):
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    add_BlobsServicer_to_server(BlobFolderServicer(blobs), server)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.fixture
async def mirrored(tmp_path):
    """The leader's files, a store, and a follower's files and what keeps them."""
    theirs, ours = BlobFolder(tmp_path / "theirs"), BlobFolder(tmp_path / "ours")
    retention = Retention(ours)
    async with serving(theirs) as address, open_deployments(tmp_path) as store:
        leftover = write(ours, b"undeployed while we were away")
        mirror = BlobMirror(store, ours, retention, sources=lambda: [address], retry_s=0.05)
        async with running(mirror.run()):
            yield theirs, ours, store, retention, leftover


async def test_mirror_fetches_what_is_deployed_and_removes_what_is_not(mirrored):
    theirs, ours, store, _, leftover = mirrored
    source, first, second = (write(theirs, content) for content in (b"model", b"one", b"two"))
    await store.save(deployment(source, first, second))
    desired = {artefact.files[0].sha256 for artefact in (source, first, second)}
    await eventually(lambda: set(ours.digests()) == desired)
    assert leftover.files[0].sha256 not in set(ours.digests())
    await store.save(deployment(source, first, version=2))
    await store.delete("m", 1)
    await eventually(lambda: set(ours.digests()) == desired - {second.files[0].sha256})
    await store.delete("m", 2)
    await eventually(lambda: not set(ours.digests()))


async def test_mirror_keeps_files_that_another_holder_needs(mirrored):
    """A model that is just being deployed again is not taken from under its deploy."""
    theirs, ours, store, retention, _ = mirrored
    source = write(theirs, b"model")
    await store.save(deployment(source))
    await eventually(lambda: source.files[0].sha256 in set(ours.digests()))
    retention.hold(source)
    await store.delete("m", 1)
    other = write(theirs, b"other")
    await store.save(deployment(other, version=2))
    await eventually(lambda: other.files[0].sha256 in set(ours.digests()))
    assert source.files[0].sha256 in set(ours.digests())


async def test_mirror_tries_again_to_fetch_files_that_no_source_had(mirrored):
    """A source that has them may come back."""
    theirs, ours, store, _, _ = mirrored
    source = write(theirs, b"model")
    content = theirs.path(source.files[0].sha256).read_bytes()
    theirs.remove(source.files[0].sha256)
    await store.save(deployment(source))
    await asyncio.wait_for(store.after(1), 300)
    assert source.files[0].sha256 not in set(ours.digests())
    write(theirs, content)
    await eventually(lambda: source.files[0].sha256 in set(ours.digests()))
