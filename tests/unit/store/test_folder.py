"""Folders become artefacts and artefacts folders."""

from __future__ import annotations

import pytest

from onnxmesh.errors import CorruptData, NotFound
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.folder import materialise, pack


@pytest.fixture
def blobs(tmp_path):
    return BlobFolder(tmp_path / "blobs")


@pytest.fixture
def packed(blobs, tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "sub" / "w.bin").write_bytes(b"weights")
    return pack(folder, blobs)


def test_materialise_writes_what_was_packed(blobs, packed, tmp_path):
    folder = materialise(packed, blobs, tmp_path / "out" / packed.digest, verify=True)
    assert (folder / "model.onnx").read_bytes() == b"graph"
    assert (folder / "sub" / "w.bin").read_bytes() == b"weights"
    assert pack(folder, blobs) == packed
    assert [path.name for path in folder.parent.iterdir()] == [packed.digest]


def test_materialise_without_links_shares_nothing_with_the_blobs(blobs, packed, tmp_path):
    folder = materialise(packed, blobs, tmp_path / "out", link=False)
    assert (folder / "model.onnx").stat().st_nlink == 1


def test_materialise_keeps_an_existing_folder(blobs, packed, tmp_path):
    target = materialise(packed, blobs, tmp_path / "out")
    assert materialise(packed, blobs, tmp_path / "out") == target


def test_materialise_names_a_missing_blob_and_leaves_nothing(blobs, packed, tmp_path):
    missing = packed.files[1]
    blobs.remove(missing.sha256)
    with pytest.raises(NotFound, match=missing.path):
        materialise(packed, blobs, tmp_path / "out" / "it")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("damage", [b"grap", b"hparg"])
def test_materialise_refuses_a_damaged_blob(blobs, packed, tmp_path, damage):
    path = blobs.path(packed.files[0].sha256)
    path.unlink()
    path.write_bytes(damage)
    with pytest.raises(CorruptData, match=r"model\.onnx"):
        materialise(packed, blobs, tmp_path / "out", verify=True)
    assert not (tmp_path / "out").exists()
