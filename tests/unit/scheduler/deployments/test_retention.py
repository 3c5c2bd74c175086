"""Blobs are kept while at least one holder needs them."""

from __future__ import annotations

import pytest

from onnxmesh.store.blobs import BlobFolder
from onnxmesh.v1.model_pb2 import Artefact, File
from services.scheduler.deployments.retention import Retention, remove_unheld


@pytest.fixture
def blobs(tmp_path):
    return BlobFolder(tmp_path)


def artefact(blobs, content):
    with blobs.writer() as writer:
        writer.write(content)
        sha256, size = writer.commit()
    return Artefact(files=[File(path="m.onnx", sha256=sha256, byte_size=size)])


def test_retention_removes_a_blob_with_its_last_hold(blobs):
    retention, one = Retention(blobs), artefact(blobs, b"one")
    retention.hold(one)
    retention.hold(one)
    retention.release(one)
    assert retention.holds(one.files[0].sha256)
    assert len(blobs.digests()) == 1
    retention.release(one)
    assert not retention.holds(one.files[0].sha256)
    assert not blobs.digests()


def test_retention_detaches_without_removing(blobs):
    retention, one = Retention(blobs), artefact(blobs, b"one")
    retention.hold(one)
    retention.detach(one)
    assert retention.unheld() == {one.files[0].sha256} == set(blobs.digests())


def test_retention_scope_releases_all_its_holds_after_an_error(blobs):
    retention = Retention(blobs)
    with pytest.raises(KeyError), retention.scope() as scope:
        for content in (b"one", b"two"):
            scope.hold(artefact(blobs, content))
        raise KeyError
    assert not blobs.digests()


async def test_remove_unheld_keeps_what_is_held(blobs):
    retention, one = Retention(blobs), artefact(blobs, b"one")
    artefact(blobs, b"two")
    retention.hold(one)
    await remove_unheld(blobs, retention)
    assert set(blobs.digests()) == {one.files[0].sha256}
