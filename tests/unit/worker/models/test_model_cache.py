"""The model cache."""

from __future__ import annotations

import pytest

from onnxmesh.errors import MeshError
from onnxmesh.store.folder import pack
from services.worker.models.model_cache import ModelCache


@pytest.fixture
def cache(tmp_path):
    return ModelCache(tmp_path / "cache")


@pytest.fixture
def model(tmp_path, cache):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(b"model")
    return pack(folder, cache.blobs)


async def test_model_cache_keeps_files_until_every_hold_is_released(cache, model):
    """Blobs and folder."""
    cache.hold(model)
    cache.hold(model)
    folder = await cache.stage_folder(model, [])
    await cache.release(model)
    assert (folder / "m.onnx").read_bytes() == b"model"
    await cache.release(model)
    assert not folder.exists()
    assert cache.blobs.digests() == set()


async def test_model_cache_keeps_blobs_that_another_artefact_needs(cache, model, tmp_path):
    """Two artefacts may share a file."""
    (tmp_path / "model" / "more").write_bytes(b"more")
    larger = pack(tmp_path / "model", cache.blobs)
    cache.hold(model)
    cache.hold(larger)
    await cache.release(larger)
    assert cache.blobs.digests() == {model.files[0].sha256}


async def test_model_cache_fetches_again_what_is_corrupt_on_disk(cache, model, tmp_path):
    """Without sources that fails, and the corrupt blob is removed."""
    cache.hold(model)
    blob = next((tmp_path / "cache" / "blobs").rglob(model.files[0].sha256))
    blob.chmod(0o600)
    blob.write_bytes(b"other")
    with pytest.raises(MeshError):
        await cache.stage_folder(model, [])
    assert cache.blobs.digests() == set()


def test_model_cache_removes_folders_of_an_earlier_process(tmp_path):
    """Blobs stay."""
    (tmp_path / "workplace" / "left").mkdir(parents=True)
    (tmp_path / "stages" / "left").mkdir(parents=True)
    cache = ModelCache(tmp_path)
    assert list(cache.workplace.iterdir()) == []
    assert list((tmp_path / "stages").iterdir()) == []
