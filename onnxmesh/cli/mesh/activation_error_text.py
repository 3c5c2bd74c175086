"""The error that a deployment allows its activations on slow links, as a clause of a sentence."""

from __future__ import annotations

from onnxmesh.v1.mesh_pb2 import ModelStatus


def activation_error_text(model: ModelStatus) -> str:
    """Returns which lossy encodings are allowed and the error measured for each; empty without `--max-activation-error`."""
    if not model.spec.HasField("max_activation_error"):
        return ""
    bound, errors = model.spec.max_activation_error, model.plan.activation_errors
    if not errors.measured:
        return f"activations are sent without loss: {errors.why_not or 'the error of lossy encodings was not measured'}"
    allowed = {encoding for partition in model.plan.partitions for encoding in partition.lossy_encodings}
    measured = ", ".join(f"error of {each.encoding}: {each.largest_error:.2g}" for each in errors.measured)
    if not allowed:
        return f"activations are sent without loss: no encoding keeps the error within {bound:g} ({measured})"
    encodings = " or ".join(sorted(allowed))
    return (
        f"activations may be sent as {encodings} over slow links, within an error of {bound:g} ({measured})"
    )
