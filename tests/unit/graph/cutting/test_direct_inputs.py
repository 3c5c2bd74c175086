"""Direct inputs of late stages."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxmesh.errors import InvalidPlan, InvalidRequest
from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.graph.checks.verify import verify_chain
from onnxmesh.graph.cutting.cut_model import Provenance, cut_model
from onnxmesh.graph.cutting.plan_file import PlanFile
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.graph.runtime.partition_chain import PartitionChain
from onnxmesh.ids import Digest
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS
from onnxmesh.tensors.arrays import from_array
from tests.zoo import ZOO
from tests.zoo.zoo_model import floats, model, node, random_floats

PROVENANCE = Provenance(Digest("0" * 64), "none")


@pytest.fixture
def late(tmp_path):
    """Four dense layers: `x` at the start, `always` in each, `late` at the end; nine nodes."""
    return optimise(ZOO["late_input"].build(tmp_path), tmp_path / "work", OptimisationLevel.NONE)


def test_direct_input_is_not_carried(late, tmp_path):
    """The stages before do not pass it on; the stage that reads it says so."""
    carried = cut_model(late, [3, 6], tmp_path / "carried", PROVENANCE)
    assert [("late" in part.live_out, "always" in part.live_out) for part in carried] == [
        (True, True),
        (True, True),
        (False, False),
    ]
    sent = cut_model(late, [3, 6], tmp_path / "sent", PROVENANCE, direct=[[], [], ["late"]])
    assert all("late" not in part.live_out and "always" in part.live_out for part in sent[:2])
    assert [part.direct_inputs for part in sent] == [(), (), ("late",)]
    assert {spec.name for spec in sent[2].inputs} >= {"late", "always"}


def test_direct_input_may_be_read_by_stage_0_too(late, tmp_path):
    """What stage 0 reads comes with the request; later stages get it apart all the same."""
    parts = cut_model(late, [3, 6], tmp_path / "out", PROVENANCE, direct=[[], ["always"], ["always", "late"]])
    assert "always" in {spec.name for spec in parts[0].inputs}
    assert [part.direct_inputs for part in parts] == [(), ("always",), ("late", "always")]
    assert all({"always", "late"}.isdisjoint(part.live_out) for part in parts)


@pytest.mark.parametrize(
    ("direct", "message"),
    [
        ([[], ["late"]], "direct inputs: expected those of 3 stages, got 2"),
        ([["late"], [], []], "stage 0 receives all its inputs from the gateway: 'late' cannot be direct"),
        ([[], [], ["latest"]], "direct input 'latest' is no input of the model; it has x, late, always"),
        ([[], ["late"], ["late"]], "stage 1 does not read input 'late'"),
        ([[], [], ["always"]], "stage 1 reads input 'always', which is direct for another stage"),
    ],
)
def test_direct_inputs_that_are_inconsistent_are_refused(late, tmp_path, direct, message):
    """The message names the stage and the input, and nothing is written."""
    with pytest.raises(InvalidPlan, match=message):
        cut_model(late, [3, 6], tmp_path / "out", PROVENANCE, direct=direct)
    assert not (tmp_path / "out").exists()


def test_values_computed_from_a_direct_input_are_sent(tmp_path):
    """A shape that would be taken behind the cut is sent where its input is not carried over the cut."""
    nodes = [
        node("Shape", ["late"], ["shape"]),
        node("Tanh", ["x"], ["a"]),
        node("Neg", ["a"], ["b"]),
        node("Expand", ["b", "shape"], ["c"]),
        node("Add", ["c", "late"], ["y"]),
    ]
    made = model(nodes, [floats("x", "N", 1), floats("late", "N", 3)], [floats("y", "N", 3)])
    onnx.save(made, tmp_path / "m.onnx")
    path = optimise(tmp_path / "m.onnx", tmp_path / "work", OptimisationLevel.NONE)
    carried = cut_model(path, [2], tmp_path / "carried", PROVENANCE)
    assert carried[0].live_out == ("late", "a")
    sent = cut_model(path, [2], tmp_path / "sent", PROVENANCE, direct=[[], ["late"]])
    assert sent[0].live_out == ("shape", "a")
    feeds = random_floats("x", 1)(1, 2) | random_floats("late", 3)(2, 2)
    tensors = {name: from_array(name, array) for name, array in feeds.items()}
    expected = (-np.tanh(feeds["x"]) + feeds["late"]).astype(np.float32)
    found = PartitionChain(tmp_path / "sent", sent).run(tensors)["y"]
    assert np.allclose(np.frombuffer(found.data, np.float32).reshape(2, 3), expected)


def test_direct_input_that_is_an_output_reaches_the_last_stage(tmp_path):
    """No stage carries it."""
    path = optimise(ZOO["pass_through"].build(tmp_path), tmp_path / "work", OptimisationLevel.NONE)
    parts = cut_model(path, [2], tmp_path / "out", PROVENANCE, direct=[[], ["x"]])
    assert parts[0].live_out == ("early", "middle")
    assert parts[1].direct_inputs == ("x",)
    assert "x" in parts[1].live_out
    feeds = ZOO["pass_through"].tensors(1)
    assert PartitionChain(tmp_path / "out", parts).run(feeds)["x"] == feeds["x"]


def test_chain_requires_direct_inputs(late, tmp_path):
    """A missing one is named where it is needed."""
    parts = cut_model(late, [3], tmp_path / "out", PROVENANCE, direct=[[], ["late", "always"]])
    feeds = ZOO["late_input"].tensors(1)
    del feeds["late"]
    with pytest.raises(InvalidRequest, match="input 'late' is missing"):
        PartitionChain(tmp_path / "out", parts).run(feeds)


def test_plan_file_keeps_direct_inputs(tmp_path):
    """What is cut with direct inputs verifies from its folder."""
    source = ZOO["late_input"].build(tmp_path)
    work = tmp_path / "work"
    prepare(PrepareJob(source, work, PrepareOptions(OptimisationLevel.NONE)))
    cut_prepared(CutJob(work, CutOptions((3, 6), ((), ("always",), ("always", "late")))))
    folder = tmp_path / "work" / PARTITIONS
    assert [part.direct_inputs for part in PlanFile.load(folder).partitions] == [
        (),
        ("always",),
        ("late", "always"),
    ]
    assert verify_chain(folder, source).equal
