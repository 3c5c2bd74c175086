"""Conversion between tensors and ONNX Runtime values, without a copy where that is safe."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from onnxmesh.errors import InvalidRequest
from onnxmesh.graph.runtime.element_types import ELEMENT_TYPE_OF, datatype_of_runtime_type
from onnxmesh.graph.runtime.string_values import from_string_value, string_value
from onnxmesh.tensors.allocation import allocate_aligned
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.device_tensor import DeviceMemory, DeviceTensor
from onnxmesh.tensors.tensor import Buffer, Tensor

KERNEL_ALIGNMENT = 16
"""Alignment in bytes that a tensor's data needs to be used in place.

It is for equal bits, not for speed: ONNX Runtime's kernels sum the elements before the first aligned vector
separately, so that equal data at another alignment can differ in the last bit (measured: ReduceSum). Vectors in
these loops have 16 bytes; the buffers of ONNX Runtime and NumPy are aligned to at least that."""


def to_runtime(tensor: Tensor) -> onnxruntime.OrtValue:
    """Returns a tensor as an ONNX Runtime value: a view of its data if that is aligned, else of a copy.

    The value keeps the data alive. Strings are always copied.

    Raises:
        InvalidRequest: The size of the data does not match datatype and shape (INVALID_ARGUMENT).
    """
    if tensor.datatype is Datatype.BYTES:
        return string_value(tensor)
    expected = tensor.datatype.byte_size(tensor.num_elements)
    if tensor.byte_size != expected:
        raise InvalidRequest(
            f"tensor '{tensor.name}': {tensor.datatype} of shape {list(tensor.shape)} has {expected} bytes, "
            f"got {tensor.byte_size}"
        )
    code = ELEMENT_TYPE_OF[tensor.datatype]
    if tensor.datatype.bits < 8:
        return _packed_value(tensor, code)
    dtype = NUMPY.get(tensor.datatype) or np.dtype(f"<u{tensor.datatype.bits // 8}")
    array = _aligned(tensor.data).view(dtype).reshape(tensor.shape)
    if tensor.datatype in NUMPY:
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, code)


def from_runtime(name: str, value: onnxruntime.OrtValue, owner: object = None) -> Tensor:
    """Returns an ONNX Runtime value as a tensor: a view that keeps the value's memory alive.

    Args:
        name: Name of the tensor.
        value: A dense tensor in host memory.
        owner: Object to keep alive with the value: the session, which owns the memory of constant outputs.

    Raises:
        InvalidRequest: The value is of a type that cannot be sent (INVALID_ARGUMENT).
    """
    datatype = datatype_of_runtime_type(value.data_type())
    if datatype is None:
        raise InvalidRequest(f"output '{name}' is a {value.data_type()}, which cannot be sent")
    if datatype is Datatype.BYTES:
        return from_string_value(name, value)
    shape = tuple(value.shape())
    size = value.tensor_size_in_bytes()
    if size == 0:
        return Tensor(name, datatype, shape, b"")
    block = (ctypes.c_uint8 * size).from_address(value.data_ptr())
    # A memoryview of the block holds the block, and the block holds the value that owns the memory.
    block._owner = (value, owner)  # noqa: SLF001 # ctypes arrays take attributes
    return Tensor(name, datatype, shape, memoryview(block).cast("B").toreadonly())


def on_device(name: str, value: onnxruntime.OrtValue, device: str, owner: object) -> Tensor:
    """Returns a value in a device's memory as a tensor, without copying it to the host.

    Args:
        name: Name of the tensor.
        value: A dense tensor of a NumPy element type, not empty.
        device: ONNX Runtime's name of the device, such as `cuda`.
        owner: Object to keep alive with the value: the session, which owns the memory.
    """
    datatype = datatype_of_runtime_type(value.data_type())
    assert datatype is not None and datatype in NUMPY

    def fetch() -> memoryview:
        array: npt.NDArray[Any] = value.numpy()
        return array.reshape(-1).view(np.uint8).data.toreadonly()

    memory = DeviceMemory(device, value.data_ptr(), fetch=fetch, owner=(value, owner))
    return DeviceTensor(name, datatype, tuple(value.shape()), memory=memory)


def aligned_copy(data: Buffer) -> npt.NDArray[np.uint8]:
    """Returns a copy of `data` with an alignment that suits every kernel."""
    copy = np.frombuffer(allocate_aligned(len(data)), dtype=np.uint8)
    copy[:] = np.frombuffer(data, dtype=np.uint8)
    return copy


def _aligned(data: Buffer) -> npt.NDArray[np.uint8]:
    if not len(data):
        return np.empty(0, dtype=np.uint8)
    array = np.frombuffer(data, dtype=np.uint8)
    return array if array.ctypes.data % KERNEL_ALIGNMENT == 0 else aligned_copy(data)


def _packed_value(tensor: Tensor, code: int) -> onnxruntime.OrtValue:
    """Returns a copy of a tensor of elements smaller than a byte, which NumPy cannot describe in place."""
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(tensor.shape), code)
    if tensor.byte_size:
        ctypes.memmove(value.data_ptr(), bytes(tensor.data), tensor.byte_size)
    return value
