"""Output tensors as files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.cli.terminal.output_files import file_stems, save_outputs
from onnxmesh.errors import InvalidRequest


def test_names_that_meet_in_one_file_name_get_files_of_their_own(tmp_path):
    """A usable name keeps its file; others, and those that differ in case alone, are numbered."""
    outputs = {name: np.array([number]) for number, name in enumerate(["a/b", "a_b", "a:b", "Y", "y"])}
    files = save_outputs(tmp_path / "new", outputs)
    assert {name: path.name for name, path in files.items()} == {
        "a/b": "a_b-2.npy",
        "a_b": "a_b.npy",
        "a:b": "a_b-3.npy",
        "Y": "Y.npy",
        "y": "y-2.npy",
    }
    assert {name: np.load(path).tolist() for name, path in files.items()} == {
        name: array.tolist() for name, array in outputs.items()
    }


@given(st.lists(st.text(max_size=300), max_size=8, unique=True))
def test_output_files_give_every_output_a_file_of_its_own(names):
    """Whatever the names: distinct without regard to case, within the folder, and short enough."""
    stems = file_stems(names)
    assert list(stems) == names
    assert len({stem.casefold() for stem in stems.values()}) == len(names)
    for stem in stems.values():
        assert "/" not in stem
        assert "\0" not in stem
        assert stem[0] not in ".-"
        assert len(f"{stem}.npy".encode()) <= 255


@pytest.mark.parametrize(
    ("name", "stem"),
    [("y=z", "y=z"), ("..", "_.."), ("", "_"), ("größe", "größe"), ("a b", "a b"), ("../../x", "_.._.._x")],
)
def test_usable_names_stay(name, stem):
    """And a name cannot leave the folder."""
    assert file_stems([name])[name] == stem


def test_strings_are_saved_without_pickling(tmp_path):
    """As fixed-length bytes; what such a file would lose is refused."""
    (path,) = save_outputs(tmp_path, {"s": np.array([b"x", b"yz"], dtype=object)}).values()
    assert np.load(path).tolist() == [b"x", b"yz"]
    with pytest.raises(InvalidRequest, match="output 's' has strings that end with a zero byte"):
        save_outputs(tmp_path, {"s": np.array([b"x\0"], dtype=object)})


def test_output_files_name_a_folder_that_is_a_file(tmp_path):
    """With the reason of the operating system."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match=r"--out: cannot write '.*file/s.npy': "):
        save_outputs(tmp_path / "file", {"s": np.zeros(1)})
