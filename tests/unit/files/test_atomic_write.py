"""A text file is replaced whole or not at all."""

from __future__ import annotations

import pytest

from onnxmesh.files.atomic_write import write_atomically


def test_write_atomically_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "plan.json"
    write_atomically(path, "first")
    write_atomically(path, "zweiter \u00d7")
    assert path.read_text(encoding="utf-8") == "zweiter \u00d7"
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]


def test_write_atomically_never_writes_into_the_old_file(tmp_path):
    """A reader that has the old file open goes on reading the old content."""
    path = tmp_path / "plan.json"
    path.write_text("old")
    with path.open() as reader:
        write_atomically(path, "new and longer")
        assert reader.read() == "old"


def test_write_atomically_keeps_the_old_file_after_a_failure(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]
