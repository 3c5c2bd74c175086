"""Graph optimisation of the whole model, once, before it is cut."""

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
"""Weights of a whole model beyond this total go to a file of their own: a protobuf message is at most 2 GiB."""

OPTIMISED = "optimised.onnx"
"""File name of the model that is cut."""

_MIN_EXTERNAL_WEIGHT_BYTES = 1024
_MAX_MODEL_FILE_BYTES = 256 * 1024 * 1024
"""An optimised model is parsed several times: the weights of a larger one go to a file of their own."""


def optimise(source: Path, out_folder: Path, level: OptimisationLevel) -> Path:
    """Optimises a whole model for the CPU with ONNX Runtime and saves the result.

    Args:
        source: The model.
        out_folder: Folder for `optimised.onnx`, created if missing. The external data files of the source are hard
            linked beside it, so that unchanged weights are not written again. New weights are in the model, or
            all weights in `optimised.weights` where the model would be too large.
        level: Optimisation level. `none` passes through ONNX Runtime too, which inserts the casts that its
            kernels need and inlines functions: the graph that is cut must be the graph that runs.

    Returns:
        Path of the optimised model. It has no shapes except those of inputs and outputs.

    Raises:
        InvalidModel: ONNX Runtime cannot load the model; the message names the operator or node
            (INVALID_ARGUMENT).
    """
    out_folder.mkdir(parents=True, exist_ok=True)
    target = out_folder / OPTIMISED
    model = load_structure(source)
    shared = shareable_locations(model)
    if shared and weight_bytes_of(model, external=False) <= MAX_INLINE_MODEL_BYTES:
        link_external_files({name: source.parent / name for name in shared}, out_folder)
        try:
            _save_optimised(source, target, level)
            if target.stat().st_size <= _MAX_MODEL_FILE_BYTES:
                return target
        except InvalidModel:
            # Constant folding may have exceeded the message limit: a file of weights avoids it, any other error recurs.
            pass
        for location in shared:
            (out_folder / location).unlink()
    # Locations relative to the source are invalid beside the target.
    external = bool(external_tensors(model)) or weight_bytes_of(model) > MAX_INLINE_MODEL_BYTES
    _save_optimised(source, target, level, weights="optimised.weights" if external else None)
    return target


def _save_optimised(source: Path, target: Path, level: OptimisationLevel, weights: str | None = None) -> None:
    """Loads a model with ONNX Runtime, which saves the optimised graph.

    Args:
        source: The model.
        target: File to write.
        level: Optimisation level.
        weights: File name for the weights beside `target`. None: unchanged external weights keep their location, all
            others are in the model.
    """
    beside = [target] if weights is None else [target, target.with_name(weights)]
    for path in beside:
        path.unlink(missing_ok=True)
    options = session_options(level=level)
    options.optimized_model_filepath = str(target)
    # The session is dropped as soon as the model is saved: packed copies of the weights would be unused.
    options.add_session_config_entry("session.disable_prepacking", "1")
    if weights is not None:
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", str(_MIN_EXTERNAL_WEIGHT_BYTES)
        )
    try:
        onnxruntime.InferenceSession(str(source), options, providers=[CPU])
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        for path in beside:
            path.unlink(missing_ok=True)
        reason = load_error_reason(error, load_structure(source))
        raise InvalidModel(f"ONNX Runtime cannot load '{source.name}': {reason}") from error


def weight_bytes_of(model: onnx.ModelProto, *, external: bool = True) -> int:
    """Returns the bytes of all tensors of a model, from their shapes; those in other files only if `external`."""
    total = 0
    for tensor in tensors_of(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL and not external:
            continue
        if tensor.data_type in {onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING}:
            continue
        itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        total += math.prod(tensor.dims) * itemsize
    return total
