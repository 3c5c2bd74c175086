"""Artefacts are named by their listing, and their paths stay inside a folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData, InvalidRequest
from onnxmesh.store.artefact import artefact_of, check_artefact, check_path, model_file
from onnxmesh.v1.model_pb2 import Artefact, File

SHA = "a" * 64


def listing(*paths):
    return [File(path=path, sha256=SHA, byte_size=1) for path in paths]


def test_artefact_of_depends_on_the_content_and_not_on_the_order():
    files = [File(path="b", sha256=SHA, byte_size=1), File(path="a", sha256="b" * 64, byte_size=2)]
    assert artefact_of(files) == artefact_of(files[::-1])
    assert artefact_of(files).digest != artefact_of(files[:1]).digest


@pytest.mark.parametrize(
    "path", ["", "/a", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\\b", "a\nb", "a\0b", "a" * 1025]
)
def test_check_path_refuses_unsafe_paths(path):
    with pytest.raises(InvalidRequest):
        check_path(path)


@pytest.mark.parametrize("path", ["a", "a.onnx", "a/b/c.bin", "..a", "a..", "ä/ö", "with space"])
def test_check_path_accepts_other_paths(path):
    check_path(path)


@given(st.text(max_size=20))
def test_check_path_accepts_no_path_out_of_the_folder(path):
    try:
        check_path(path)
    except InvalidRequest:
        return
    assert not path.startswith("/")
    assert ".." not in path.split("/")


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b")])
def test_artefact_of_refuses_paths_that_cannot_be_in_one_folder(paths):
    with pytest.raises(InvalidRequest):
        artefact_of(listing(*paths))


def test_check_artefact_refuses_a_wrong_digest():
    with pytest.raises(CorruptData):
        check_artefact(Artefact(digest=SHA, files=listing("a")))


def test_model_file_is_the_only_onnx_file_at_the_top():
    assert model_file(artefact_of(listing("m.onnx", "w.bin", "sub/n.onnx"))).path == "m.onnx"
    for paths in ((), ("w.bin",), ("m.onnx", "n.onnx"), ("sub/m.onnx",)):
        with pytest.raises(InvalidRequest):
            model_file(artefact_of(listing(*paths)))
