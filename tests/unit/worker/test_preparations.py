"""Prepared models are kept while they may be cut, and no longer; the child process is only pretended."""

from __future__ import annotations

import json
import sys

import pytest

from onnxmesh.errors import InvalidModel, InvalidPlan, InvalidRequest, NotFound
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.signature import Signature
from onnxmesh.store.folder import pack
from services.worker.models.model_builder import ModelBuilder
from services.worker.models.model_cache import ModelCache
from services.worker.models.preparations import Preparations, PrepareOptions

PROFILE = GraphCosts((), (), (), (), Signature((), ())).to_json()


class PretendedWorkshop:
    """Leaves a file in the work folder, and a profile; or fails as it is told to."""

    def __init__(self):
        self.error = None
        self.levels = []
        self.asked = []

    async def prepare(self, source, work, level, mode, shapes, profile_s, device):
        self.levels.append(level)
        self.asked.append((level, mode, shapes["batch"], profile_s, device))
        if self.error is not None:
            raise self.error
        return json.dumps({"costs": PROFILE, "profile": ""})


@pytest.fixture
def cache(tmp_path):
    return ModelCache(tmp_path / "cache")


@pytest.fixture
def model(tmp_path, cache):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(b"model")
    return pack(folder, cache.blobs)


async def test_only_the_last_few_prepared_models_are_kept(cache, model, tmp_path):
    """The one longest unused goes first, with its folder; the model's own blobs go at once."""
    preparations = Preparations(cache, PretendedWorkshop(), max_prepared=2)
    names = []
    for number in range(3):
        (tmp_path / "model" / "m.onnx").write_bytes(b"model %d" % number)
        again = pack(tmp_path / "model", cache.blobs)
        names.append((await preparations.prepare(again, [], PrepareOptions("all"))).name)
        (cache.workplace / names[-1]).mkdir(exist_ok=True)
        assert not cache.blobs.has(again.files[0].sha256)
    assert {path.name for path in cache.workplace.iterdir()} == set(names[1:])
    with pytest.raises(NotFound):
        await preparations.cut(names[0], [])
    with pytest.raises(InvalidPlan, match="ascend"):
        await preparations.cut(names[1], [2, 1])


async def test_a_model_is_prepared_once_for_each_level(cache, model, tmp_path):
    """The same content again, to be cut elsewhere, is found as it is."""
    workshop = PretendedWorkshop()
    preparations = Preparations(cache, workshop)
    first = await preparations.prepare(model, [], PrepareOptions("all"))
    assert await preparations.prepare(model, [], PrepareOptions("all")) is first
    pack(tmp_path / "model", cache.blobs)
    other = await preparations.prepare(model, [], PrepareOptions("basic"))
    assert other.name != first.name
    assert workshop.levels == ["all", "basic"]


async def test_a_wish_that_is_another_is_prepared_apart(cache, model, tmp_path):
    """Another mode or shape is; measuring what was only estimated replaces it, and what was measured is cut as it is."""
    workshop = PretendedWorkshop()
    preparations = Preparations(cache, workshop, "cpu-x-1t")
    wishes = [
        PrepareOptions("all"),
        PrepareOptions("all", mode="portable"),
        PrepareOptions("all", shapes=InputShapes(4)),
        PrepareOptions("all", profile_s=2.0),
        PrepareOptions("all"),
        PrepareOptions("all", profile_s=1.0),
    ]
    names = []
    for wish in wishes:
        pack(tmp_path / "model", cache.blobs)
        names.append((await preparations.prepare(model, [], wish)).name)
    assert len(set(names[:3])) == 3
    assert set(names[3:]) == {names[0]}
    assert workshop.asked == [
        ("all", "exact", 1, 0.0, "cpu-x-1t"),
        ("all", "portable", 1, 0.0, "cpu-x-1t"),
        ("all", "exact", 4, 0.0, "cpu-x-1t"),
        ("all", "exact", 1, 2.0, "cpu-x-1t"),
    ]


async def test_a_wish_must_make_sense(cache, model):
    """Level and mode are those that are known."""
    preparations = Preparations(cache, PretendedWorkshop())
    with pytest.raises(InvalidRequest, match="an optimisation of none, basic, extended, all; got 'most'"):
        await preparations.prepare(model, [], PrepareOptions("most"))
    with pytest.raises(InvalidRequest, match="a mode of exact, portable; got 'odd'"):
        await preparations.prepare(model, [], PrepareOptions("all", mode="odd"))


async def test_a_model_that_cannot_be_prepared_leaves_nothing(cache, model):
    """No folder and no blob."""
    workshop = PretendedWorkshop()
    workshop.error = InvalidModel("no")
    with pytest.raises(InvalidModel):
        await Preparations(cache, workshop).prepare(model, [], PrepareOptions("all"))
    assert list(cache.workplace.iterdir()) == []
    assert cache.blobs.digests() == set()


async def test_what_two_hold_stays_until_both_let_go(cache, model):
    """Blobs and folder."""
    cache.hold(model)
    cache.hold(model)
    folder = await cache.stage_folder(model, [])
    await cache.release(model)
    assert (folder / "m.onnx").read_bytes() == b"model"
    await cache.release(model)
    assert not folder.exists()
    assert cache.blobs.digests() == set()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("import os; os.abort()", "SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "memory runs out"),
        ("raise SystemExit(3)", "status 3"),
        ("pass", "status 0"),
    ],
)
async def test_a_child_that_ends_without_an_answer_crashed(script, says):
    """How is in the message; even an orderly end is none."""
    workshop = ModelBuilder((sys.executable, "-c", script))
    with pytest.raises(InvalidModel, match="ONNX Runtime crashed while cutting the model") as caught:
        await workshop.cut("nowhere", [1], [])
    assert says in caught.value.message


async def test_an_expected_failure_of_the_child_keeps_its_class_and_words():
    """It passes through as it was raised there."""
    script = (
        """import sys; sys.stdin.readline(); print('{"reason": "INVALID_PLAN", "message": "not there"}')"""
    )
    with pytest.raises(InvalidPlan, match="not there"):
        await ModelBuilder((sys.executable, "-c", script)).cut("nowhere", [1], [])
