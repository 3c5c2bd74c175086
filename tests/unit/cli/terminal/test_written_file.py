"""Files that commands write."""

from __future__ import annotations

import os

import pytest

from onnxmesh.cli.terminal.written_file import require_writable, write_whole
from onnxmesh.errors import InvalidRequest


def test_written_file_replaces_another_one_completely(tmp_path):
    """No temporary file remains beside it."""
    path = tmp_path / "plan.svg"
    path.write_text("an older and longer text")
    write_whole("--svg", path, "new")
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["plan.svg"]


def test_written_file_names_the_option_of_an_impossible_path(tmp_path):
    """A folder, a device, a missing folder: refused before the work, and at the writing."""
    for path, words in [
        (tmp_path, "is a folder"),
        (tmp_path / "none" / "x", "there is no folder"),
        (os.devnull, "is no ordinary file"),
    ]:
        with pytest.raises(InvalidRequest, match=f"--svg: .*{words}"):
            require_writable("--svg", type(tmp_path)(path))
    with pytest.raises(InvalidRequest, match="--svg: cannot write"):
        write_whole("--svg", tmp_path / "none" / "x", "text")
    require_writable("--svg", tmp_path / "new.svg")
