"""Output errors of lossy activations."""

from __future__ import annotations

import json

import pytest

from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.model.activation_errors import ActivationErrors
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo import ZOO


def cut(name, folder, num_stages=3):
    """Returns the errors of activations that a cut of a model of the zoo reports."""
    source, work = ZOO[name].build(folder), folder / "work"
    costs = GraphCosts.from_json(
        json.loads(prepare(PrepareJob(source, work, PrepareOptions(OptimisationLevel.ALL))))["costs"]
    )
    legal = costs.legal_cuts
    cuts = sorted({legal[len(legal) * part // num_stages] for part in range(1, num_stages)})
    answer = json.loads(cut_prepared(CutJob(work, CutOptions(tuple(cuts), activation_errors=True))))
    return ActivationErrors.from_plain(answer["activation_errors"])


@pytest.mark.parametrize("name", ["mlp", "branching_cnn", "encoder"])
def test_activation_errors_of_half_precision_are_below_those_of_8_bits(name, tmp_path):
    """Relative to the largest magnitude in the output; the more bits the better."""
    found = cut(name, tmp_path)
    errors = dict(found.measured)
    assert 0 < errors["fp16"] < errors["int8"] < 0.2
    assert errors["fp16"] < 0.005
    assert found.why_not == ""
    assert ActivationErrors.from_plain(found.to_plain()) == found


def test_activation_errors_are_deterministic(tmp_path):
    """Inputs are drawn by their number: a repeated plan measures the same."""
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    assert cut("mlp", tmp_path / "one") == cut("mlp", tmp_path / "other")


def test_activation_errors_name_a_model_that_refuses_random_inputs(tmp_path):
    """It is cut all the same; its activations keep every bit."""
    found = cut("strings_and_bfloat", tmp_path, num_stages=2)
    assert found.measured == ()
    assert found.why_not.startswith("the model refuses random inputs: ")


def test_activation_errors_of_one_stage_are_not_measured(tmp_path):
    """The reason is given, and nothing runs."""
    assert cut("mlp", tmp_path, num_stages=1) == ActivationErrors(why_not="the model is one stage")


def test_activation_errors_are_measured_on_request_only(tmp_path):
    """A cut measures nothing by default."""
    work = tmp_path / "work"
    job = PrepareJob(ZOO["mlp"].build(tmp_path), work, PrepareOptions(OptimisationLevel.ALL))
    costs = GraphCosts.from_json(json.loads(prepare(job))["costs"])
    answer = json.loads(cut_prepared(CutJob(work, CutOptions((costs.legal_cuts[0],)))))
    assert answer["activation_errors"] is None
