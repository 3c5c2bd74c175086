"""Lossy activations: which of a model's activations may lose bits on slow links. Pure."""

from __future__ import annotations

from onnxmesh.model.activation_errors import compressible_tensors
from onnxmesh.v1.model_pb2 import DeploymentSpec, Plan
from onnxmesh.v1.worker_pb2 import CutResponse


def allow_losses(plan: Plan, spec: DeploymentSpec, cut: CutResponse) -> None:
    """Writes the measured errors into a plan, and into its partitions the encodings that the spec allows by them.

    Args:
        plan: With its partitions.
        spec: With the largest error that is allowed.
        cut: With the errors that were measured when the model was cut.
    """
    if not (spec.HasField("max_activation_error") and cut.HasField("activation_errors")):
        return
    plan.activation_errors.CopyFrom(cut.activation_errors)
    allowed = [
        each.encoding
        for each in cut.activation_errors.measured
        if each.largest_error <= spec.max_activation_error
    ]
    if not allowed:
        return
    edge = {each.name for each in (*plan.signature.inputs, *plan.signature.outputs)}
    for partition in plan.partitions[:-1]:
        partition.lossy_encodings[:] = allowed
        partition.lossy_tensors[:] = compressible_tensors(partition.live_out, edge)
