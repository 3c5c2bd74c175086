"""Locations of external data."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from onnxmesh.files.data_location import data_file, path_within


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("w.bin", "w.bin"),
        ("./w.bin", "w.bin"),
        ("a/../w.bin", "w.bin"),
        ("a//b/./w", "a/b/w"),
        ("data\\w.bin", "data/w.bin"),
        (".\\data\\w.bin", "data/w.bin"),
        ("onnx::MatMul_12", "onnx::MatMul_12"),
        ("c:w", "c:w"),
        ("100%25 größe 重み", "100%25 größe 重み"),
    ],
)
def test_path_within_reads_every_spelling(location, path):
    """Separators of Windows, dots, colons, blanks and letters of any script."""
    assert path_within(location) == PurePosixPath(path)


@pytest.mark.parametrize(
    "location",
    ["", ".", "..", "a/..", "../w", "a/../../w", "..\\w", "/w", "\\w", "C:\\w", "c:/w", "*/_ORT_MEM_ADDR_/*"],
)
def test_path_within_refuses_what_is_outside(location):
    """Nor does it name an address in memory, which ONNX Runtime would read."""
    assert path_within(location) is None
    assert data_file(PurePosixPath("m"), location) is None


def test_data_file_prefers_a_file_that_has_the_backslash_in_its_name(tmp_path):
    """As ONNX Runtime does on Linux; without one the backslash separates folders."""
    assert data_file(tmp_path, "data\\w.bin") == tmp_path / "data" / "w.bin"
    (tmp_path / "data\\w.bin").write_bytes(b"")
    assert data_file(tmp_path, "data\\w.bin") == tmp_path / "data\\w.bin"
