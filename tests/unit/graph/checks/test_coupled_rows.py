"""The batching check on models whose rows meet for some values only, or behind a discrete output."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime as ort
import pytest

from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.model.batching import BatchingSpec, StageBatching
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo.coupled_rows import COUPLED


@pytest.mark.parametrize("name", COUPLED)
def test_rows_meet_in_fact(name):
    """Of a tame row and an extreme one, one is answered otherwise beside the other than alone."""
    made = COUPLED[name]
    session = ort.InferenceSession(made.make().SerializeToString(), providers=["CPUExecutionProvider"])
    (together,) = session.run(None, {"x": np.concatenate([made.extreme, made.tame])})
    alone = [session.run(None, {"x": row})[0] for row in (made.extreme, made.tame)]
    assert together.tobytes() != np.concatenate(alone).tobytes()


@pytest.mark.parametrize("mode", CutMode)
@pytest.mark.parametrize("name", COUPLED)
def test_models_whose_rows_meet_are_neither_batched_nor_split(name, mode, tmp_path):
    """However they are cut: one stage runs each request alone, its reason names the node, and no request is split."""
    made = COUPLED[name]
    path, work = tmp_path / "m.onnx", tmp_path / "work"
    path.write_bytes(made.make().SerializeToString())
    prepared = json.loads(prepare(PrepareJob(path, work, PrepareOptions(OptimisationLevel.EXTENDED, mode))))
    legal = GraphCosts.from_json(prepared["costs"]).legal_cuts
    for num_stages in (1, 2, 3):
        cuts = (
            sorted({legal[len(legal) * part // num_stages] for part in range(1, num_stages)}) if legal else []
        )
        answer = json.loads(
            cut_prepared(CutJob(work, CutOptions(tuple(cuts), batching=BatchingSpec()), False))
        )
        found = [StageBatching.from_plain(plain) for plain in answer["batching"]]
        alone = [each for each in found if each.max_rows == 1]
        assert any(made.reason in each.why_not for each in alone), [each.why_not for each in found]
        assert min(each.max_split_rows for each in found) == 0
