"""Build steps: prepare and cut, as a child process runs them."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

from onnxmesh.errors import REASONS, CorruptData, InvalidModel, InvalidPlan, Overloaded
from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.graph.cutting.plan_file import PlanFile
from onnxmesh.graph.runtime.partition_chain import PartitionChain
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS, Partition
from tests.zoo import ZOO


@pytest.fixture(scope="module")
def child():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def costs_of(answer: str) -> GraphCosts:
    return GraphCosts.from_json(json.loads(answer)["costs"])


def prepare_job(source, work, level="extended") -> PrepareJob:
    return PrepareJob(source, work, PrepareOptions(OptimisationLevel(level)))


def cut_job(work, *cuts) -> CutJob:
    return CutJob(work, CutOptions(cuts))


def partitions_of(answer: str) -> list[Partition]:
    return [Partition.from_plain(plain) for plain in json.loads(answer)["partitions"]]


def test_build_steps_prepare_and_cut_in_a_child_process(child, tmp_path):
    """The partitions are written under the work folder with their plan."""
    source, work = ZOO["branching_cnn"].build(tmp_path), tmp_path / "work"
    profile = costs_of(child.submit(prepare, prepare_job(source, work)).result())
    cuts = profile.legal_cuts[:2]
    partitions = partitions_of(child.submit(cut_prepared, cut_job(work, *cuts)).result())
    assert [partition.end for partition in partitions[:-1]] == list(cuts)
    plan = PlanFile.load(work / PARTITIONS)
    assert plan.partitions == tuple(partitions)
    plan.check_files(work / PARTITIONS)
    PartitionChain(work / PARTITIONS, partitions).run(ZOO["branching_cnn"].tensors(1))


def test_build_steps_raise_their_errors_out_of_a_child_process(child, tmp_path):
    """The caller sees the error itself: class, message and all."""
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(InvalidModel, match="is not an ONNX model"):
        child.submit(prepare, prepare_job(tmp_path / "m.onnx", tmp_path / "work", "all")).result()
    source = ZOO["mlp"].build(tmp_path)
    child.submit(prepare, prepare_job(source, tmp_path / "work", "basic")).result()
    with pytest.raises(InvalidPlan, match="beyond the last"):
        child.submit(cut_prepared, cut_job(tmp_path / "work", 1000)).result()
    assert not (tmp_path / "work" / PARTITIONS).exists()


@pytest.mark.parametrize("error", sorted(REASONS.values(), key=lambda error: error.reason))
def test_mesh_errors_pickle(error):
    """With its message and its retry delay."""
    again = pickle.loads(pickle.dumps(error("what happened", retry_after_s=1.5)))
    assert type(again) is error
    assert (again.message, again.retry_after_s, str(again)) == ("what happened", 1.5, "what happened")
    assert Overloaded("x").retry_after_s is None


def test_cut_prepared_refuses_a_folder_that_was_not_prepared(tmp_path):
    """Also a folder in which preparation has failed."""
    with pytest.raises(CorruptData, match="holds no prepared model"):
        cut_prepared(cut_job(tmp_path, 1))
    source, work = ZOO["mlp"].build(tmp_path), tmp_path / "work"
    prepare(prepare_job(source, work))
    (work / "source.json").unlink()
    with pytest.raises(CorruptData, match="holds no prepared model"):
        cut_prepared(cut_job(work, 1))
