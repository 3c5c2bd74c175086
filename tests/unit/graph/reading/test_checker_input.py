"""What ONNX's checker is given."""

from __future__ import annotations

import onnx
import pytest

from onnxmesh.graph.reading.checker_input import check_structure, checker_input
from onnxmesh.graph.reading.normalise import normalise
from tests.unit.graph.accepted_models import FORMS
from tests.zoo.zoo_model import floats, model, node


@pytest.mark.parametrize("form", FORMS)
def test_checker_input_of_a_normal_form_is_valid(form):
    """So that what the checker refuses then is wrong indeed."""
    made = FORMS[form]()
    normalise(made)
    before = made.SerializeToString(deterministic=True)
    onnx.checker.check_model(checker_input(made))
    assert made.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Frobnicate", ["x"], ["y"])],
        [node("Add", ["x", "ghost"], ["y"])],
        [node("Relu", ["x"], ["y"], slope=1.0)],
        [node("Relu", ["x"], ["y"]), node("Exp", ["x"], ["y"])],
    ],
)
def test_check_structure_refuses_what_is_invalid(tmp_path, nodes):
    """An unknown operator, an undefined value, an unknown attribute, a value that is computed twice."""
    made = model(nodes, [floats("x", 1)], [floats("y", 1)])
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    for changed in (False, True):
        with pytest.raises(onnx.checker.ValidationError):
            check_structure(made, path, changed=changed)
