"""String tensors: BYTES tensors to and from ONNX Runtime, whose strings are bytes and whose Python interface wants text."""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from onnxmesh.errors import InvalidRequest
from onnxmesh.tensors.bytes_codec import decode_bytes, encode_bytes
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor

_CPP_STRING = struct.Struct("=QQ16x")
"""`std::string` of the GNU C++ library: address, size, and the buffer of short strings."""


def to_text(tensor: Tensor) -> npt.NDArray[np.object_] | None:
    """Returns a BYTES tensor as an object array of `str`; None if an element is not UTF-8, such as an image.

    Raises:
        InvalidRequest: Malformed BYTES (INVALID_ARGUMENT).
    """
    elements = decode_bytes(tensor.data, tensor.num_elements, tensor.name)
    array = np.empty(tensor.num_elements, dtype=np.object_)
    try:
        array[:] = [element.decode() for element in elements]
    except UnicodeDecodeError:
        return None
    return array.reshape(tensor.shape)


def string_value(tensor: Tensor) -> onnxruntime.OrtValue:
    """Returns a BYTES tensor as an ONNX Runtime value of the same bytes, which can be bound like others.

    ONNX Runtime's Python interface cannot create a string value from an array, but it can return one: so a model
    with the strings as a constant is run. That takes about a millisecond; `StageSession` does it only where arrays
    cannot be fed.

    Raises:
        InvalidRequest: Malformed BYTES (INVALID_ARGUMENT).
    """
    return _string_value(decode_bytes(tensor.data, tensor.num_elements, tensor.name), tensor.shape)


def _string_value(elements: Sequence[bytes], shape: Sequence[int]) -> onnxruntime.OrtValue:
    constant = onnx.TensorProto(name="strings", data_type=onnx.TensorProto.STRING, dims=shape)
    constant.string_data.extend(elements)
    output = onnx.helper.make_tensor_value_info("strings", onnx.TensorProto.STRING, shape)
    graph = onnx.helper.make_graph([], "strings", [], [output], [constant])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run_with_ort_values(["strings"], {})[0]


def from_text(name: str, array: npt.NDArray[Any]) -> Tensor:
    """Returns ONNX Runtime's object array of `str` as a BYTES tensor."""
    elements = (str(element).encode() for element in array.ravel())
    return Tensor(name, Datatype.BYTES, array.shape, encode_bytes(elements))


def from_string_value(name: str, value: onnxruntime.OrtValue) -> Tensor:
    """Returns a string value of ONNX Runtime as a BYTES tensor, whatever its bytes are.

    Raises:
        InvalidRequest: An element is not UTF-8, and this system does not allow to read it (INVALID_ARGUMENT).
    """
    try:
        return from_text(name, value.numpy())
    except UnicodeDecodeError as error:
        if not _layout_is_known():
            raise InvalidRequest(
                f"output '{name}' has a string that is not UTF-8, which ONNX Runtime's Python interface cannot return"
            ) from error
    elements = [ctypes.string_at(address, size) for address, size in _places(value)]
    return Tensor(name, Datatype.BYTES, tuple(value.shape()), encode_bytes(elements))


def _places(value: onnxruntime.OrtValue) -> list[tuple[int, int]]:
    """Returns address and size of each string in a value's memory."""
    memory = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return [(address, size) for address, size in _CPP_STRING.iter_unpack(memory)]


@cache
def _layout_is_known() -> bool:
    """Whether strings in memory are as `_CPP_STRING`, tried on known ones."""
    if sys.platform != "linux":
        return False
    samples = [b"short", b"long" * 25, b""]
    value = _string_value(samples, [len(samples)])
    if value.tensor_size_in_bytes() != len(samples) * _CPP_STRING.size:
        return False
    places = _places(value)
    if [size for _, size in places] != [len(sample) for sample in samples]:
        return False
    return [ctypes.string_at(address, size) for address, size in places] == samples
