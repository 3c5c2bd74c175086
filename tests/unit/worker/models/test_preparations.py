"""Prepared models, with a fake model builder."""

from __future__ import annotations

import json

import pytest

from onnxmesh.errors import InvalidModel, InvalidPlan, NotFound
from onnxmesh.graph.build_jobs import CutOptions, PrepareOptions
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.signature import Signature
from onnxmesh.store.folder import pack
from services.worker.models.model_cache import ModelCache
from services.worker.models.preparations import LackingRequirement, Preparations

COSTS = GraphCosts((), (), (), (), Signature((), ())).to_json()


class FakeBuilder:
    """Returns the costs of an empty graph with `answer` over them, or raises `error`; keeps the jobs."""

    def __init__(self):
        self.error = None
        self.answer = {}
        self.jobs = []

    async def prepare(self, job):
        self.jobs.append(job)
        if self.error is not None:
            raise self.error
        answer = {"costs": COSTS, "profile": "", "requires": "", "lacking": ""}
        return json.dumps(answer | self.answer)


@pytest.fixture
def cache(tmp_path):
    return ModelCache(tmp_path / "cache")


@pytest.fixture
def model(tmp_path, cache):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(b"model")
    return pack(folder, cache.blobs)


async def test_preparations_keep_the_last_few_models(cache, model, tmp_path):
    """The least recently used is evicted with its folder; the blobs of the model are released at once."""
    preparations = Preparations(cache, FakeBuilder(), max_prepared=2)
    names = []
    for number in range(3):
        (tmp_path / "model" / "m.onnx").write_bytes(b"model %d" % number)
        again = pack(tmp_path / "model", cache.blobs)
        names.append((await preparations.prepare(again, [], PrepareOptions(OptimisationLevel.ALL))).name)
        (cache.workplace / names[-1]).mkdir(exist_ok=True)
        assert not cache.blobs.has(again.files[0].sha256)
    assert {path.name for path in cache.workplace.iterdir()} == set(names[1:])
    with pytest.raises(NotFound):
        await preparations.cut(names[0], CutOptions())
    with pytest.raises(InvalidPlan, match="ascend"):
        await preparations.cut(names[1], CutOptions((2, 1)))


async def test_preparations_prepare_a_model_once_for_each_level(cache, model, tmp_path):
    """The same content is not prepared again."""
    builder = FakeBuilder()
    preparations = Preparations(cache, builder)
    first = await preparations.prepare(model, [], PrepareOptions(OptimisationLevel.ALL))
    assert await preparations.prepare(model, [], PrepareOptions(OptimisationLevel.ALL)) is first
    pack(tmp_path / "model", cache.blobs)
    other = await preparations.prepare(model, [], PrepareOptions(OptimisationLevel.BASIC))
    assert other.name != first.name
    assert [job.options.optimisation for job in builder.jobs] == ["all", "basic"]


async def test_preparations_distinguish_modes_and_shapes_but_not_measuring(cache, model, tmp_path):
    """A measured preparation replaces an estimated one and serves both."""
    builder = FakeBuilder()
    preparations = Preparations(cache, builder, device="cpu-x-1t")
    variants = [
        PrepareOptions(OptimisationLevel.ALL),
        PrepareOptions(OptimisationLevel.ALL, mode=CutMode.PORTABLE),
        PrepareOptions(OptimisationLevel.ALL, shapes=InputShapes(4)),
        PrepareOptions(OptimisationLevel.ALL, profile_s=2.0),
        PrepareOptions(OptimisationLevel.ALL),
        PrepareOptions(OptimisationLevel.ALL, profile_s=1.0),
    ]
    names = []
    for options in variants:
        pack(tmp_path / "model", cache.blobs)
        names.append((await preparations.prepare(model, [], options)).name)
    assert len(set(names[:3])) == 3
    assert set(names[3:]) == {names[0]}
    jobs = [
        (
            job.options.optimisation,
            job.options.mode,
            job.options.shapes.batch,
            job.options.profile_s,
            job.device,
        )
        for job in builder.jobs
    ]
    assert jobs == [
        ("all", "exact", 1, 0.0, "cpu-x-1t"),
        ("all", "portable", 1, 0.0, "cpu-x-1t"),
        ("all", "exact", 4, 0.0, "cpu-x-1t"),
        ("all", "exact", 1, 2.0, "cpu-x-1t"),
    ]


async def test_preparations_leave_no_files_of_a_failed_model(cache, model):
    """No folder and no blob."""
    builder = FakeBuilder()
    builder.error = InvalidModel("no")
    with pytest.raises(InvalidModel):
        await Preparations(cache, builder).prepare(model, [], PrepareOptions(OptimisationLevel.ALL))
    assert list(cache.workplace.iterdir()) == []
    assert cache.blobs.digests() == set()


async def test_preparations_of_a_worker_that_lacks_something_leave_nothing(cache, model, tmp_path):
    """The requirements go to the scheduler; files are released, and it prepares again with a model of which it lacks nothing."""
    builder = FakeBuilder()
    builder.answer = {"requires": "locale.a locale.b", "lacking": "no locale"}
    preparations = Preparations(cache, builder)
    with pytest.raises(LackingRequirement, match="no locale") as caught:
        await preparations.prepare(model, [], PrepareOptions(OptimisationLevel.ALL))
    assert caught.value.require == ("locale.a", "locale.b")
    assert list(cache.workplace.iterdir()) == []
    assert not cache.blobs.has(model.files[0].sha256)
    builder.answer = {"requires": "locale.a"}
    model = pack(tmp_path / "model", cache.blobs)
    prepared = await preparations.prepare(model, [], PrepareOptions(OptimisationLevel.ALL))
    assert prepared.require == ("locale.a",)
