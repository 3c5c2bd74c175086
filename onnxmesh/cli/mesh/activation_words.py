"""What a deployment's activations may lose on slow links, in words."""

from __future__ import annotations

from onnxmesh.v1.mesh_pb2 import ModelStatus


def activation_words(model: ModelStatus) -> str:
    """Says which ways to lose bits are allowed, and what was measured of each; empty where none was asked for."""
    if not model.spec.HasField("max_activation_error"):
        return ""
    bound, found = model.spec.max_activation_error, model.plan.activation_errors
    if not found.measured:
        return f"activations keep every bit: {found.why_not or 'what they may lose was not measured'}"
    allowed = {encoding for partition in model.plan.partitions for encoding in partition.lossy_encodings}
    figures = ", ".join(f"{each.encoding} errs by {each.largest_error:.2g}" for each in found.measured)
    if not allowed:
        return f"activations keep every bit: nothing meets an error of {bound:g} ({figures})"
    return f"activations may travel as {' and '.join(sorted(allowed))} over slow links, for an error of {bound:g} ({figures})"
