"""A folder appears whole or not at all."""

from __future__ import annotations

import pytest

from onnxmesh.files.staging import staged_folder


def test_staged_folder_keeps_the_old_folder_after_a_failure(tmp_path):
    """A folder is replaced when its successor is complete, not before; no temporary folder remains."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()

    def fail_halfway():
        with staged_folder(target) as fresh:
            (fresh / "new").touch()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_halfway()
    assert [entry.name for entry in target.iterdir()] == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_staged_folder_replaces_the_old_folder_as_a_whole(tmp_path):
    target = tmp_path / "parent" / "out"
    for name in ("first", "second"):
        with staged_folder(target) as fresh:
            (fresh / name).touch()
            assert not (target / name).exists()
    assert [entry.name for entry in target.iterdir()] == ["second"]
    assert [entry.name for entry in target.parent.iterdir()] == ["out"]


def test_staged_folder_keeps_what_another_process_made_meanwhile(tmp_path):
    target = tmp_path / "out"
    with staged_folder(target, replace=False) as fresh:
        (fresh / "mine").touch()
        target.mkdir()
        (target / "theirs").touch()
    assert [entry.name for entry in target.iterdir()] == ["theirs"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_staged_folder_has_the_permissions_asked_for(tmp_path):
    with staged_folder(tmp_path / "out", mode=0o700):
        pass
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
