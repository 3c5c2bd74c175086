"""Tensors into ONNX Runtime and out of it, without copying where that is safe."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from onnxmesh.errors import InvalidRequest
from onnxmesh.graph.runtime.element_types import ELEMENT_TYPE_OF, datatype_of_runtime_type
from onnxmesh.tensors.allocation import allocate_aligned
from onnxmesh.tensors.bytes_codec import decode_bytes, encode_bytes
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.device_tensor import DeviceMemory, DeviceTensor
from onnxmesh.tensors.tensor import Buffer, Tensor

KERNEL_ALIGNMENT = 16
"""Bytes at whose multiple a tensor's data must start to be used in place.

Not for speed: ONNX Runtime's kernels add up what precedes the first aligned vector apart, so that the same
numbers at another alignment can give another last bit (measured: ReduceSum). Vectors in these loops
have 16 bytes; its own buffers and NumPy's are aligned to that and more."""


def to_runtime(tensor: Tensor) -> onnxruntime.OrtValue:
    """Returns the tensor as ONNX Runtime takes it: a view of its data if that is aligned, else of a copy.

    The value keeps the data alive. Strings are always copied.

    Raises:
        InvalidRequest: The data does not have the size that type and shape ask for, or a string is not
            UTF-8, which ONNX requires (INVALID_ARGUMENT).
    """
    if tensor.datatype is Datatype.BYTES:
        return string_value(to_strings(tensor))
    expected = tensor.datatype.byte_size(tensor.num_elements)
    if tensor.byte_size != expected:
        raise InvalidRequest(
            f"tensor '{tensor.name}': {tensor.datatype} of shape {list(tensor.shape)} takes {expected} bytes, "
            f"{tensor.byte_size} came"
        )
    code = ELEMENT_TYPE_OF[tensor.datatype]
    if tensor.datatype.bits < 8:
        return _packed_value(tensor, code)
    dtype = NUMPY.get(tensor.datatype) or np.dtype(f"<u{tensor.datatype.bits // 8}")
    array = _aligned(tensor.data).view(dtype).reshape(tensor.shape)
    if tensor.datatype in NUMPY:
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, code)


def to_strings(tensor: Tensor) -> npt.NDArray[np.object_]:
    """Returns a BYTES tensor as the object array of `str` that ONNX Runtime takes.

    Raises:
        InvalidRequest: Malformed BYTES, or an element that is not UTF-8 (INVALID_ARGUMENT).
    """
    elements = decode_bytes(tensor.data, tensor.num_elements, tensor.name)
    array = np.empty(tensor.num_elements, dtype=np.object_)
    for position, element in enumerate(elements):
        try:
            array[position] = element.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"tensor '{tensor.name}': element {position} is not UTF-8, which ONNX requires of strings"
            ) from error
    return array.reshape(tensor.shape)


def from_runtime(name: str, value: onnxruntime.OrtValue, owner: object = None) -> Tensor:
    """Returns what ONNX Runtime answered as a tensor: a view of its memory, which lives as long as the view.

    Args:
        name: Name for the tensor.
        value: A dense tensor in the CPU's memory.
        owner: Kept alive along with the value; the session, whose memory a constant output is.

    Raises:
        InvalidRequest: The value is no tensor that can be sent (INVALID_ARGUMENT).
    """
    datatype = datatype_of_runtime_type(value.data_type())
    if datatype is None:
        raise InvalidRequest(f"output '{name}' is a {value.data_type()}, which cannot be sent")
    if datatype is Datatype.BYTES:
        return from_strings(name, value.numpy())
    shape = tuple(value.shape())
    size = value.tensor_size_in_bytes()
    if size == 0:
        return Tensor(name, datatype, shape, b"")
    block = (ctypes.c_uint8 * size).from_address(value.data_ptr())
    # A memoryview of the block holds the block, and the block holds the value that owns the memory.
    block._owner = (value, owner)  # noqa: SLF001 # ctypes arrays take attributes
    return Tensor(name, datatype, shape, memoryview(block).cast("B").toreadonly())


def on_device(name: str, value: onnxruntime.OrtValue, device: str, owner: object) -> Tensor:
    """Returns what ONNX Runtime left in a device's memory as a tensor, which stays there.

    Args:
        name: Name for the tensor.
        value: A dense tensor of elements that NumPy knows, not empty.
        device: Where it is.
        owner: Kept alive along with the value; the session, whose memory it is.
    """
    datatype = datatype_of_runtime_type(value.data_type())
    assert datatype is not None and datatype in NUMPY

    def fetch() -> memoryview:
        array: npt.NDArray[Any] = value.numpy()
        return array.reshape(-1).view(np.uint8).data.toreadonly()

    memory = DeviceMemory(device, value.data_ptr(), fetch, (value, owner))
    return DeviceTensor(name, datatype, tuple(value.shape()), memory)


def from_strings(name: str, array: npt.NDArray[Any]) -> Tensor:
    """Returns ONNX Runtime's object array of `str` as a BYTES tensor."""
    elements = (str(element).encode() for element in array.ravel())
    return Tensor(name, Datatype.BYTES, array.shape, encode_bytes(elements))


def string_value(array: npt.NDArray[np.object_]) -> onnxruntime.OrtValue:
    """Returns strings as a value that can be fed along with others.

    ONNX Runtime's Python interface makes no such value from an array; it does answer with one. So
    a model is made that has the strings as a constant. That takes about a millisecond: `StageSession`
    does it only where feeding arrays is not possible.
    """
    tensor = onnx.TensorProto(name="strings", data_type=onnx.TensorProto.STRING, dims=array.shape)
    tensor.string_data.extend(str(element).encode() for element in array.ravel())
    output = onnx.helper.make_tensor_value_info("strings", onnx.TensorProto.STRING, array.shape)
    graph = onnx.helper.make_graph([], "strings", [], [output], [tensor])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run_with_ort_values(["strings"], {})[0]


def aligned_copy(data: Buffer) -> npt.NDArray[np.uint8]:
    """Returns a copy of `data` that starts where any kernel wants it to."""
    copy = np.frombuffer(allocate_aligned(len(data)), dtype=np.uint8)
    copy[:] = np.frombuffer(data, dtype=np.uint8)
    return copy


def _aligned(data: Buffer) -> npt.NDArray[np.uint8]:
    if not len(data):
        return np.empty(0, dtype=np.uint8)
    array = np.frombuffer(data, dtype=np.uint8)
    return array if array.ctypes.data % KERNEL_ALIGNMENT == 0 else aligned_copy(data)


def _packed_value(tensor: Tensor, code: int) -> onnxruntime.OrtValue:
    """Returns a tensor of elements smaller than a byte, copied: NumPy cannot describe it in place."""
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(tensor.shape), code)
    if tensor.byte_size:
        ctypes.memmove(value.data_ptr(), bytes(tensor.data), tensor.byte_size)
    return value
