"""Tensors from NumPy arrays, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from onnxmesh.errors import InvalidRequest
from onnxmesh.tensors.bytes_codec import decode_bytes, encode_bytes
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.tensor import Tensor

_BY_DTYPE = {dtype: datatype for datatype, dtype in NUMPY.items()}


def from_array(name: str, array: npt.NDArray[Any], datatype: Datatype | None = None) -> Tensor:
    """Returns the tensor that holds `array`.

    Args:
        name: Name of the tensor.
        array: Numbers, booleans, or str, bytes and object elements for BYTES. For datatypes that NumPy
            lacks: their bit patterns as unsigned integers (BF16: uint16).
        datatype: Required for those; else it follows from the array.

    Raises:
        InvalidRequest: No datatype fits the array's elements (INVALID_ARGUMENT).
    """
    if array.dtype.kind in "SUO":
        elements = (
            element if isinstance(element, bytes) else str(element).encode() for element in array.ravel()
        )
        return Tensor(name, Datatype.BYTES, array.shape, encode_bytes(elements))
    little = array.dtype.newbyteorder("<")
    if datatype is None:
        datatype = _BY_DTYPE.get(little)
    if datatype is None:
        raise InvalidRequest(
            f"tensor '{name}': no datatype of the Open Inference Protocol holds {array.dtype}"
        )
    contiguous = np.ascontiguousarray(array, dtype=little)
    return Tensor(name, datatype, array.shape, contiguous.reshape(-1).view(np.uint8).data)


def to_array(tensor: Tensor) -> npt.NDArray[Any]:
    """Returns the tensor as an array: a read-only view where NumPy has the type.

    BYTES gives an object array of bytes; BF16 gives float32 of the same values.

    Raises:
        InvalidRequest: Malformed BYTES, or a datatype that only ONNX has (INVALID_ARGUMENT).
    """
    if tensor.datatype is Datatype.BYTES:
        elements = np.empty(tensor.num_elements, dtype=np.object_)
        elements[:] = decode_bytes(tensor.data, tensor.num_elements, tensor.name)
        return elements.reshape(tensor.shape)
    if tensor.datatype is Datatype.BF16:
        bits = np.frombuffer(tensor.data, dtype="<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(tensor.shape)
    dtype = NUMPY.get(tensor.datatype)
    if dtype is None:
        raise InvalidRequest(f"tensor '{tensor.name}': NumPy has no element type for {tensor.datatype}")
    return np.frombuffer(tensor.data, dtype=dtype).reshape(tensor.shape)
