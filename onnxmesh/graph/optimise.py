"""The whole model, optimised once before it is cut."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import onnxruntime

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.external_data import tensors_of
from onnxmesh.graph.runtime_errors import readable
from onnxmesh.graph.session import CPU, session_options
from onnxmesh.graph.source import load_structure
from onnxmesh.planning.optimisation_level import OptimisationLevel

__all__ = ["OptimisationLevel", "optimise", "LARGE_WEIGHT_BYTES"]

LARGE_WEIGHT_BYTES = 64 * 1024 * 1024
"""From this total on, weights are kept in a file of their own: a protobuf message ends at 2 GiB."""

_MIN_EXTERNAL_BYTES = 1024


def optimise(source: Path, out_folder: Path, level: OptimisationLevel) -> Path:
    """Lets ONNX Runtime optimise a whole model for the CPU and saves the result.

    Args:
        source: The model.
        out_folder: Where `optimised.onnx` goes (and `optimised.weights` if the weights are large); made if
            it is not there.
        level: How far to go. Even `none` passes through ONNX Runtime, which inserts the casts that its
            kernels need and inlines functions: what is cut must be what runs.

    Returns:
        Path of the optimised model. It carries no shapes but those of inputs and outputs.

    Raises:
        InvalidModel: ONNX Runtime cannot load the model; the message names the operator or node
            (INVALID_ARGUMENT).
    """
    out_folder.mkdir(parents=True, exist_ok=True)
    target = out_folder / "optimised.onnx"
    weights = out_folder / "optimised.weights"
    target.unlink(missing_ok=True)
    weights.unlink(missing_ok=True)
    options = session_options(level=level)
    options.optimized_model_filepath = str(target)
    # Packed copies of the weights serve no one here: the session is dropped as soon as it has saved.
    options.add_session_config_entry("session.disable_prepacking", "1")
    if weight_bytes_of(load_structure(source)) > LARGE_WEIGHT_BYTES:
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", weights.name
        )
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", str(_MIN_EXTERNAL_BYTES)
        )
    try:
        onnxruntime.InferenceSession(str(source), options, providers=[CPU])
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        target.unlink(missing_ok=True)
        weights.unlink(missing_ok=True)
        raise InvalidModel(f"ONNX Runtime cannot load '{source.name}': {readable(error)}") from error
    return target


def weight_bytes_of(model: onnx.ModelProto) -> int:
    """Returns the bytes of all tensors stored in a model, external ones included, from their shapes."""
    total = 0
    for tensor in tensors_of(model):
        if tensor.data_type in {onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING}:
            continue
        itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        total += math.prod(tensor.dims) * itemsize
    return total
