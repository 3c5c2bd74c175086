"""The text about lossy activations."""

from __future__ import annotations

import pytest

from onnxmesh.cli.mesh.deploy import deployment_sentence
from onnxmesh.cli.mesh.status import plan_sentence
from onnxmesh.cli.mesh.status_document import model_document
from onnxmesh.v1.mesh_pb2 import (
    ModelStatus,
)
from onnxmesh.v1.model_pb2 import (
    ActivationError,
    ActivationErrors,
    DeploymentSpec,
    Partition,
    Plan,
)


@pytest.mark.parametrize(
    ("allowed", "found", "words"),
    [
        (
            ["fp16"],
            {"fp16": 1e-4, "int8": 0.03},
            "activations may be sent as fp16 over slow links, within an error of 0.01 (error of fp16: 0.0001, error of int8: 0.03)",
        ),
        (
            [],
            {"fp16": 0.02, "int8": 0.03},
            "activations are sent without loss: no encoding keeps the error within 0.01 (error of fp16: 0.02, error of int8: 0.03)",
        ),
        ([], {}, "activations are sent without loss: the model is one stage"),
    ],
)
def test_activation_error_text_has_encodings_and_measured_errors(allowed, found, words):
    """In the output of deploy and status; empty without the option."""
    errors = ActivationErrors(
        measured=[ActivationError(encoding=each, largest_error=error) for each, error in found.items()],
        why_not="" if found else "the model is one stage",
    )
    plan = Plan(partitions=[Partition(lossy_encodings=allowed)], activation_errors=errors)
    model = ModelStatus(name="m", version=1, plan=plan, spec=DeploymentSpec(max_activation_error=0.01))
    assert words in plan_sentence(model)
    assert deployment_sentence(model).endswith(f"; {words}")
    document = model_document(model)
    assert (document["max_activation_error"], document["activation_errors"]) == (0.01, found)
    assert document["stages"][0]["lossy_encodings"] == allowed
    plain = ModelStatus(name="m", version=1, plan=Plan(partitions=[Partition()]))
    assert "activations" not in plan_sentence(plain) + deployment_sentence(plain)
    assert model_document(plain)["max_activation_error"] is None
