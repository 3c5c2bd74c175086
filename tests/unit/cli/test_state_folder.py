"""Where an embedded mesh keeps its files."""

from __future__ import annotations

import pytest

from onnxmesh.cli.local_mesh.state_folder import open_state_folder
from onnxmesh.errors import Conflict, InvalidRequest


def test_a_folder_of_its_own_goes_in_the_end():
    """Without a folder given, everything is gone afterwards, logs too."""
    with open_state_folder(None) as state:
        state.log("gateway").write_text("x")
        root = state.root
    assert not root.exists()


def test_a_given_folder_stays_and_is_held_by_one_mesh_at_a_time(tmp_path):
    """A second mesh on the same folder is refused while the first one runs, and welcome after it."""
    with open_state_folder(tmp_path / "state") as state:
        state.log("gateway").write_text("x")
        with (
            pytest.raises(Conflict, match="another `onnxmesh up`"),
            open_state_folder(tmp_path / "state"),
        ):
            pass
    with open_state_folder(tmp_path / "state") as again:
        assert again.log("gateway").read_text() == "x"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    """A file in the way is bad input."""
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(InvalidRequest, match="cannot keep state in"), open_state_folder(tmp_path / "state"):
        pass
