"""Comparison of a chain with its whole model."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.errors import ModelRunFailed
from onnxmesh.graph.checks.chain_comparison import compare_chain, copy_tensors
from onnxmesh.graph.split import split_model
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.tensors.arrays import from_array
from tests.zoo import ZOO


def test_chain_of_an_exact_cut_equals_the_whole_model(tmp_path):
    """Two stages, two inputs; at another level of the whole model bits may differ."""
    zoo = ZOO["mlp"]
    source = zoo.build(tmp_path)
    plan, _ = split_model(source, tmp_path / "out", 2)
    inputs = [zoo.tensors(seed) for seed in (1, 2)]
    (output,) = compare_chain(source, plan.level, tmp_path / "out", plan.partitions, plan.mode, inputs)
    assert output.equal
    assert output.name == plan.signature.outputs[0].name


def test_chain_comparison_reports_refused_inputs(tmp_path):
    """The whole model runs first and refuses the shape."""
    source = ZOO["mlp"].build(tmp_path)
    plan, _ = split_model(source, tmp_path / "out", 2)
    wrong = [{"x": from_array("x", np.zeros((1, 31), np.float32))}]
    with pytest.raises(ModelRunFailed, match="whole model refuses random inputs"):
        compare_chain(
            source, OptimisationLevel.EXTENDED, tmp_path / "out", plan.partitions, CutMode.EXACT, wrong
        )


def test_copied_tensors_do_not_share_memory():
    """A change of the original does not reach the copy."""
    array = np.zeros(4, np.float32)
    copied = copy_tensors({"x": from_array("x", array)})["x"]
    array[:] = 1
    assert bytes(copied.data) == bytes(16)
