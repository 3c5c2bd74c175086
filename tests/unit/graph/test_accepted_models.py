"""What ONNX Runtime runs, the chain runs: odd forms of models, cut in both modes, against plain ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.checks.verify import verify_chain
from onnxmesh.graph.runtime.partition_chain import PartitionChain
from onnxmesh.graph.runtime.session import session_options
from onnxmesh.graph.split import split_model
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.tensors.arrays import from_array, to_array
from tests.unit.graph import accepted_models
from tests.unit.graph.accepted_models import FORMS, ROWS


def plain_answers(path) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": ROWS}), strict=True))


def chain_answers(path, folder, num_stages, mode) -> dict[str, np.ndarray]:
    plan, _ = split_model(path, folder, num_stages, mode=mode)
    chain = PartitionChain(folder, plan.partitions, level=mode.load_level)
    answers = chain.run({"x": from_array("x", ROWS)})
    assert [spec.name for spec in plan.signature.outputs] == list(answers)
    return {name: to_array(tensor) for name, tensor in answers.items()}


@pytest.mark.parametrize("mode", list(CutMode))
@pytest.mark.parametrize("form", FORMS)
def test_form_is_served_with_the_answers_of_onnx_runtime(tmp_path, form, mode):
    """In 1 to 3 stages; signature, answers and `verify` name the same outputs, each once."""
    path = tmp_path / "m.onnx"
    path.write_bytes(FORMS[form]().SerializeToString())
    expected = plain_answers(path)
    for num_stages in (1, 2, 3):
        folder = tmp_path / f"cut-{num_stages}"
        answers = chain_answers(path, folder, num_stages, mode)
        assert list(answers) == list(expected)
        for name, array in expected.items():
            np.testing.assert_allclose(answers[name], array, rtol=0 if mode is CutMode.EXACT else 1e-5)
            assert answers[name].shape == array.shape
    report = verify_chain(tmp_path / "cut-2", path, range(1))
    assert [output.name for output in report.outputs] == list(expected)
    assert report.equal or mode is CutMode.PORTABLE


@pytest.mark.parametrize("mode", list(CutMode))
@pytest.mark.parametrize(
    ("make", "reference"),
    [
        (accepted_models.branch_output_twice, accepted_models.branch_output_twice),
        (accepted_models.default_domain_by_name_in_branches, accepted_models.branch_output_twice),
        (accepted_models.scan_output_twice, accepted_models.scan_output_twice),
    ],
)
def test_form_that_onnx_runtime_gets_wrong_has_the_answer_of_the_specification(
    tmp_path, make, reference, mode
):
    """ONNX Runtime refuses these or computes from memory that it never wrote."""
    path = tmp_path / "m.onnx"
    path.write_bytes(make().SerializeToString())
    expected = ReferenceEvaluator(reference()).run(None, {"x": ROWS})
    answers = chain_answers(path, tmp_path / "cut", 2, mode)
    np.testing.assert_allclose(answers["y"], expected[0], rtol=1e-6)


@pytest.mark.parametrize("mode", list(CutMode))
def test_refusal_of_onnx_runtime_names_the_users_file(tmp_path, mode):
    """An output of another type than its node gives: the checker does not see it, ONNX Runtime refuses it."""
    made = FORMS["output_without_shape"]()
    made.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    path = tmp_path / "mine.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(InvalidModel, match=r"ONNX Runtime cannot load 'mine\.onnx': Type Error"):
        split_model(path, tmp_path / "cut", 1, mode=mode)


def test_forms_are_the_ones_that_others_refuse():
    """Most forms are refused by ONNX's checker; each is valid input of ONNX Runtime."""
    refused = 0
    for form in FORMS.values():
        try:
            onnx.checker.check_model(form().SerializeToString())
        except onnx.checker.ValidationError:
            refused += 1
    assert refused > len(FORMS) / 2
