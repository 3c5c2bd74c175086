"""Encodings that lose bits are allowed by what was measured."""

from __future__ import annotations

import pytest

from onnxmesh.v1.model_pb2 import (
    ActivationError,
    ActivationErrors,
    DeploymentSpec,
    Partition,
    Plan,
    Signature,
    TensorSpec,
)
from onnxmesh.v1.worker_pb2 import CutResponse
from services.scheduler.plans.lossy_activations import allow_losses

MEASURED = ActivationErrors(
    measured=[
        ActivationError(encoding="fp16", largest_error=1e-4),
        ActivationError(encoding="int8", largest_error=0.01),
    ]
)


def planned(bound, found=MEASURED):
    """Returns a plan of two stages: an input and an output cross the boundary beside what was computed."""
    signature = Signature(inputs=[TensorSpec(name="x")], outputs=[TensorSpec(name="y")])
    partitions = [Partition(live_out=["x", "h", "y"]), Partition(index=1, live_out=["y"])]
    plan = Plan(signature=signature, partitions=partitions)
    allow_losses(plan, DeploymentSpec(max_activation_error=bound), CutResponse(activation_errors=found))
    return plan


@pytest.mark.parametrize(
    ("bound", "allowed"),
    [
        (None, []),
        (1e-5, []),
        (1e-4, ["fp16"]),
        (0.009, ["fp16"]),
        (0.01, ["fp16", "int8"]),
    ],
)
def test_allow_losses_allows_only_encodings_within_the_bound(bound, allowed):
    """The measurements are kept where the spec has a bound."""
    plan = planned(bound)
    first, last = plan.partitions
    assert list(first.lossy_encodings) == allowed
    assert list(first.lossy_tensors) == (["h"] if allowed else [])
    assert not last.lossy_encodings
    assert plan.HasField("activation_errors") == (bound is not None)


def test_allow_losses_allows_nothing_that_was_not_measured():
    """Neither errors that are not finite, nor those of a worker of an older release, which measures none."""
    odd = ActivationErrors(measured=[ActivationError(encoding="fp16", largest_error=float("nan"))])
    assert not planned(0.5, odd).partitions[0].lossy_encodings
    assert not planned(0.5, None).partitions[0].lossy_encodings
