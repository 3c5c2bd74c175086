"""The whole model, optimised once before it is cut."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import onnxruntime

from onnxmesh.device.execution_provider import CPU
from onnxmesh.errors import InvalidModel
from onnxmesh.graph.reading.external_data import (
    external_tensors,
    link_external_files,
    shareable_locations,
    tensors_of,
)
from onnxmesh.graph.reading.source import load_structure
from onnxmesh.graph.runtime.runtime_errors import load_error_reason
from onnxmesh.graph.runtime.session import session_options
from onnxmesh.model.optimisation_level import OptimisationLevel

__all__ = ["OptimisationLevel", "optimise", "MAX_INLINE_MODEL_BYTES", "OPTIMISED"]

MAX_INLINE_MODEL_BYTES = 64 * 1024 * 1024
"""From this total on, weights are kept in a file of their own: a protobuf message ends at 2 GiB."""

OPTIMISED = "optimised.onnx"
"""What is cut, in its folder."""

_MIN_EXTERNAL_BYTES = 1024
_LARGEST_MESSAGE = 256 * 1024 * 1024
"""An optimised model is read several times: a larger one gets a file of weights."""


def optimise(source: Path, out_folder: Path, level: OptimisationLevel) -> Path:
    """Lets ONNX Runtime optimise a whole model for the CPU and saves the result.

    Args:
        source: The model.
        out_folder: Where `optimised.onnx` goes, made if it is not there. Beside it lie the files in which the source
            keeps its weights, as hard links: what was not changed is not written again. New weights are in
            the model, or all weights in `optimised.weights` where that would be too large.
        level: How far to go. Even `none` passes through ONNX Runtime, which inserts the casts that its
            kernels need and inlines functions: what is cut must be what runs.

    Returns:
        Path of the optimised model. It carries no shapes but those of inputs and outputs.

    Raises:
        InvalidModel: ONNX Runtime cannot load the model; the message names the operator or node
            (INVALID_ARGUMENT).
    """
    out_folder.mkdir(parents=True, exist_ok=True)
    target = out_folder / OPTIMISED
    model = load_structure(source)
    shared = shareable_locations(model)
    if shared and weight_bytes_of(model, external=False) <= MAX_INLINE_MODEL_BYTES:
        link_external_files(source.parent, shared, out_folder)
        try:
            _save_optimised(source, target, level)
            if target.stat().st_size <= _LARGEST_MESSAGE:
                return target
        except InvalidModel:
            # More than a message holds was folded, perhaps: with a file of weights it goes, or fails for good.
            pass
        for location in shared:
            (out_folder / location).unlink()
    # Names of files beside the source would mean nothing beside the target.
    outside = bool(external_tensors(model)) or weight_bytes_of(model) > MAX_INLINE_MODEL_BYTES
    _save_optimised(source, target, level, weights="optimised.weights" if outside else None)
    return target


def _save_optimised(source: Path, target: Path, level: OptimisationLevel, weights: str | None = None) -> None:
    """Lets ONNX Runtime load a model and save what it made of it.

    Args:
        source: The model.
        target: What to write.
        level: How far to go.
        weights: File for the weights beside `target`. Without one, weights that lay in files beside the source
            and were not changed are named as they were, all others are in the model.
    """
    beside = [target] if weights is None else [target, target.with_name(weights)]
    for path in beside:
        path.unlink(missing_ok=True)
    options = session_options(level=level)
    options.optimized_model_filepath = str(target)
    # Packed copies of the weights serve no one here: the session is dropped as soon as it has saved.
    options.add_session_config_entry("session.disable_prepacking", "1")
    if weights is not None:
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", str(_MIN_EXTERNAL_BYTES)
        )
    try:
        onnxruntime.InferenceSession(str(source), options, providers=[CPU])
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        for path in beside:
            path.unlink(missing_ok=True)
        reason = load_error_reason(error, load_structure(source))
        raise InvalidModel(f"ONNX Runtime cannot load '{source.name}': {reason}") from error


def weight_bytes_of(model: onnx.ModelProto, *, external: bool = True) -> int:
    """Returns the bytes of all tensors stored in a model, from their shapes; those in other files if `external`."""
    total = 0
    for tensor in tensors_of(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL and not external:
            continue
        if tensor.data_type in {onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING}:
            continue
        itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        total += math.prod(tensor.dims) * itemsize
    return total
