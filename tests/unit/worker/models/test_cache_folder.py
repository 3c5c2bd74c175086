"""Cache folders of workers."""

from __future__ import annotations

import pytest

from onnxmesh.errors import Conflict
from services.worker.models.cache_folder import cache_folder


def test_cache_folder_removes_temporary_folders_of_killed_workers(tmp_path):
    """Locked ones stay, and one that is being made."""
    (tmp_path / "onnxmesh-worker-killed").mkdir()
    (tmp_path / "onnxmesh-worker-killed" / "in-use").touch()
    (tmp_path / "onnxmesh-worker-new").mkdir()
    with cache_folder(None, tmp_path) as one, cache_folder(None, tmp_path) as two:
        assert {path.name for path in tmp_path.iterdir()} == {one.name, two.name, "onnxmesh-worker-new"}
    assert {path.name for path in tmp_path.iterdir()} == {"onnxmesh-worker-new"}


def test_cache_folder_is_kept_and_locked(tmp_path):
    """A second worker is refused meanwhile."""
    with cache_folder(tmp_path / "cache") as folder:
        (folder / "blob").touch()
        with pytest.raises(Conflict, match="another worker uses"), cache_folder(folder):
            pass
    with cache_folder(folder) as again:
        assert (again / "blob").exists()


def test_cache_folder_gives_each_sharing_worker_a_subfolder(tmp_path):
    """A subfolder that is free again is used again, with its files."""
    shared = tmp_path / "cache"
    with cache_folder(shared, shared=True) as first, cache_folder(shared, shared=True) as second:
        assert first != second
        assert first.parent == second.parent == shared
        (first / "blob").touch()
    with cache_folder(shared, shared=True) as again:
        assert again == first
        assert (again / "blob").exists()
