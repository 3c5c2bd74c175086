"""The stage loader with real partitions."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.errors import InvalidModel, InvalidRequest
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.tensors.arrays import from_array, to_array
from services.worker.control import stage_loader
from services.worker.control.stage_loader import StageLoader
from services.worker.models.model_cache import ModelCache
from tests.integration.worker.stage_models import artefact_of_bytes, wide

CPU = ("CPUExecutionProvider",)


async def test_stage_loader_loads_and_releases_a_partition(bench):
    """The session computes; after the release no file stays."""
    cache = ModelCache(bench.folder / "cache")
    loader = StageLoader(cache, 1, CPU)
    (partition,) = bench.partitions(wide(), [])
    session = await loader.load("m/1/0", partition, [bench.store])
    outputs = session.run({"x": from_array("x", np.float32([-1, 2]))})
    assert to_array(outputs["y"]).tolist() == [1, 2]
    assert cache.blobs.digests()
    await loader.release(partition)
    assert cache.blobs.digests() == set()


async def test_stage_loader_uses_the_optimisation_level_of_the_partition(bench, monkeypatch):
    """NONE unless it names another; an unknown one is refused."""
    levels = []
    make = stage_loader.StageSession

    def session(folder, *, level, **more):
        levels.append(level)
        return make(folder, level=level, **more)

    monkeypatch.setattr(stage_loader, "StageSession", session)
    loader = StageLoader(ModelCache(bench.folder / "cache"), 1, CPU)
    (partition,) = bench.partitions(wide(), [])
    await loader.load("m/1/0", partition, [bench.store])
    partition.load_optimisation = "all"
    await loader.load("m/1/1", partition, [bench.store])
    assert levels == [OptimisationLevel.NONE, OptimisationLevel.ALL]
    partition.load_optimisation = "most"
    with pytest.raises(InvalidRequest, match="got 'most'"):
        await loader.load("m/1/2", partition, [bench.store])


async def test_stage_loader_keeps_no_file_of_a_partition_that_does_not_load(bench):
    """Here: its model is no ONNX file."""
    cache = ModelCache(bench.folder / "cache")
    (partition,) = bench.partitions(wide(), [])
    partition.artefact.CopyFrom(artefact_of_bytes("model.onnx", b"no", bench.folder / "bad", bench.blobs))
    with pytest.raises(InvalidModel):
        await StageLoader(cache, 1, CPU).load("m/1/0", partition, [bench.store])
    assert cache.blobs.digests() == set()
