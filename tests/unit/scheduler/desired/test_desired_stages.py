"""The desired stages of a deployment."""

from __future__ import annotations

import pytest

from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan, Shapes, Signature, TensorSpec
from services.scheduler.desired.desired_stages import DesiredStages, desired_stages


def tensor(name, *shape, datatype="FP32"):
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def deployment(name="m", batch=0, live_out=(), *specs):
    return Deployment(
        DeploymentSpec(name=name, version=1, replicas=1, shapes=Shapes(batch=batch)),
        Plan(
            signature=Signature(inputs=[tensor("x", -1, 3)]),
            partitions=[
                Partition(index=0, outputs=specs, live_out=live_out, estimated_cost=0.25),
                Partition(index=1),
            ],
        ),
        Artefact(),
    )


@pytest.mark.parametrize(
    ("batch", "live_out", "expected"),
    [
        (0, ["h"], 4 * 8),
        (16, ["h"], 16 * 4 * 8),
        (16, ["h", "x"], 16 * 4 * (8 + 3)),
        (2, ["text"], 2 * 32),
        (2, ["odd", "nowhere"], 0),
        (2, [], 0),
    ],
)
def test_desired_stages_send_what_is_alive_after_them(batch, live_out, expected):
    """Its own outputs and inputs that are carried on; the batch as planned, other free dimensions and what is unknown for little."""
    specs = (
        tensor("h", -1, 8),
        tensor("text", -1, -1, datatype="BYTES"),
        tensor("odd", -1, datatype="COMPLEX"),
    )
    first, second = desired_stages(deployment("m", batch, live_out, *specs))
    assert first.sent_bytes == expected
    assert (first.cost_s, first.position, second.position, second.sent_bytes) == (0.25, 0, 1, 0)


def test_desired_stages_require_what_spec_and_model_require():
    """Placement treats both alike."""
    made = deployment()
    made.spec.require.append("zone=x")
    made.plan.require.append("locale.en_US.utf8")
    assert {stage.require for stage in desired_stages(made)} == {("zone=x", "locale.en_US.utf8")}


def test_desired_stages_are_computed_once_for_each_deployment():
    """The same stages for the same deployment, others for another in its place."""
    stages, one, other = DesiredStages(), deployment(), deployment("n")
    first = stages.of([one, other])
    assert [stage.model[0] for stage in first] == ["m", "m", "n", "n"]
    assert all(left is right for left, right in zip(first, stages.of([one, other]), strict=True))
    assert stages.of([other]) == first[2:]
    again = stages.of([one, other])
    assert again == first
    assert again[0] is not first[0]
