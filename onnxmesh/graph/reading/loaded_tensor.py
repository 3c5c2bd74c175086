"""Reading of external tensors, whatever links lead to their file."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir


def load_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """Returns a tensor with its data in memory: itself, or a copy of an external one.

    onnx-ir refuses to read symbolic links and files with several hard links, which content-addressed stores have.

    Raises:
        OSError: The file cannot be read.
    """
    if not isinstance(tensor, ir.ExternalTensor):
        return tensor
    proto = onnx.TensorProto(name=tensor.name, data_type=int(tensor.dtype), dims=tensor.shape.numpy())
    with Path(tensor.path).open("rb") as file:
        file.seek(tensor.offset or 0)
        proto.raw_data = file.read(int(tensor.nbytes))
    return ir.from_proto(proto)
