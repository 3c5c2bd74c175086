"""Artefacts are named by their listing and stay inside their folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData, InvalidRequest, NotFound
from onnxmesh.store.artefact import artefact_of, check_artefact, check_path, model_file
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.folder import materialise, pack
from onnxmesh.v1.model_pb2 import Artefact, File

SHA = "a" * 64


def listing(*paths):
    return [File(path=path, sha256=SHA, byte_size=1) for path in paths]


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


def test_the_name_depends_on_the_content_and_not_on_the_order():
    files = [File(path="b", sha256=SHA, byte_size=1), File(path="a", sha256="b" * 64, byte_size=2)]
    assert artefact_of(files) == artefact_of(files[::-1])
    assert artefact_of(files).digest != artefact_of(files[:1]).digest


@pytest.mark.parametrize(
    "path", ["", "/a", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\\b", "a\nb", "a\0b", "a" * 1025]
)
def test_a_path_that_could_leave_its_folder_is_refused(path):
    with pytest.raises(InvalidRequest):
        check_path(path)


@pytest.mark.parametrize("path", ["a", "a.onnx", "a/b/c.bin", "..a", "a..", "ä/ö", "with space"])
def test_other_paths_are_fine(path):
    check_path(path)


@given(st.text(max_size=20))
def test_no_accepted_path_leads_out(path):
    try:
        check_path(path)
    except InvalidRequest:
        return
    assert not path.startswith("/")
    assert ".." not in path.split("/")


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b")])
def test_paths_that_cannot_be_in_one_folder_are_refused(paths):
    with pytest.raises(InvalidRequest):
        artefact_of(listing(*paths))


def test_an_artefact_with_a_wrong_name_is_corrupt():
    with pytest.raises(CorruptData):
        check_artefact(Artefact(digest=SHA, files=listing("a")))


def test_the_model_is_the_one_onnx_file_at_the_top():
    assert model_file(artefact_of(listing("m.onnx", "w.bin", "sub/n.onnx"))).path == "m.onnx"
    for paths in ((), ("w.bin",), ("m.onnx", "n.onnx"), ("sub/m.onnx",)):
        with pytest.raises(InvalidRequest):
            model_file(artefact_of(listing(*paths)))


def test_what_is_packed_can_be_laid_out_again(blobs, packed, tmp_path):
    folder = materialise(packed, blobs, tmp_path / "out" / packed.digest, verify=True)
    assert (folder / "model.onnx").read_bytes() == b"graph"
    assert (folder / "sub" / "w.bin").read_bytes() == b"weights"
    assert pack(folder, blobs) == packed
    assert [path.name for path in folder.parent.iterdir()] == [packed.digest]


def test_copies_share_nothing_with_the_blobs(blobs, packed, tmp_path):
    folder = materialise(packed, blobs, tmp_path / "out", link=False)
    assert (folder / "model.onnx").stat().st_nlink == 1


def test_a_folder_that_is_there_is_taken(blobs, packed, tmp_path):
    target = materialise(packed, blobs, tmp_path / "out")
    assert materialise(packed, blobs, tmp_path / "out") == target


def test_a_missing_blob_is_named_and_nothing_is_left(blobs, packed, tmp_path):
    missing = packed.files[1]
    blobs.remove(missing.sha256)
    with pytest.raises(NotFound, match=missing.path):
        materialise(packed, blobs, tmp_path / "out" / "it")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("damage", [b"grap", b"hparg"])
def test_a_damaged_blob_is_corrupt(blobs, packed, tmp_path, damage):
    path = blobs.path(packed.files[0].sha256)
    path.unlink()
    path.write_bytes(damage)
    with pytest.raises(CorruptData, match=r"model\.onnx"):
        materialise(packed, blobs, tmp_path / "out", verify=True)
    assert not (tmp_path / "out").exists()
