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
    found = compare_chain(source, plan.level, tmp_path / "out", plan.partitions, plan.mode, [inputs])
    (output,), used = found
    assert output.equal
    assert used is inputs
    assert output.name == plan.signature.outputs[0].name


def test_chain_comparison_runs_the_first_trial_that_is_accepted(tmp_path):
    """A trial of which one input is refused does not count; if all are refused, the message has every shape once."""
    zoo = ZOO["mlp"]
    source = zoo.build(tmp_path)
    plan, _ = split_model(source, tmp_path / "out", 2)
    good = zoo.tensors(1)
    bad = [{"x": from_array("x", np.zeros((1, width), np.float32))} for width in (31, 33)]

    def compare(trials):
        level = OptimisationLevel.EXTENDED
        return compare_chain(source, level, tmp_path / "out", plan.partitions, CutMode.EXACT, trials)

    found, used = compare([[good, bad[0]], [bad[1]], [good]])
    assert (found[0].equal, used) == (True, [good])
    with pytest.raises(
        ModelRunFailed, match=r"refuses inputs of every shape that was tried \(x 1x31; x 1x33\); the first"
    ):
        compare([[bad[0]], [bad[1]], [bad[0]]])
    with pytest.raises(ModelRunFailed, match=r"the whole model refuses inputs of shape x 1x31: "):
        compare([[bad[0]]])


def test_copied_tensors_do_not_share_memory():
    """A change of the original does not reach the copy."""
    array = np.zeros(4, np.float32)
    copied = copy_tensors({"x": from_array("x", array)})["x"]
    array[:] = 1
    assert bytes(copied.data) == bytes(16)
