"""The folder with the files of an embedded mesh."""

from __future__ import annotations

import pytest

from onnxmesh.cli.local_mesh.state_folder import open_state_folder
from onnxmesh.errors import Conflict, InvalidRequest


def test_state_folder_is_temporary_by_default():
    """It is removed in the end, with the logs."""
    with open_state_folder(None) as state:
        state.log("gateway").write_text("x")
        root = state.root
    assert not root.exists()


def test_state_folder_is_kept_and_locked_by_one_mesh(tmp_path):
    """A second mesh is refused while the first one runs, and accepted after it."""
    with open_state_folder(tmp_path / "state") as state:
        state.log("gateway").write_text("x")
        with (
            pytest.raises(Conflict, match="--state: another `onnxmesh up` uses"),
            open_state_folder(tmp_path / "state"),
        ):
            pass
    with open_state_folder(tmp_path / "state") as again:
        assert again.log("gateway").read_text() == "x"


def test_state_folder_that_cannot_be_created_is_named(tmp_path):
    """A file of that name is wrong input."""
    (tmp_path / "state").write_text("a file")
    with (
        pytest.raises(InvalidRequest, match="--state: cannot write to"),
        open_state_folder(tmp_path / "state"),
    ):
        pass
