"""Mapping of ONNX element types and ONNX Runtime type names to datatypes."""

from __future__ import annotations

from typing import Final

import onnx

from onnxmesh.tensors.datatype import Datatype

_TYPES: Final = onnx.TensorProto

DATATYPE_OF: Final[dict[int, Datatype]] = {
    _TYPES.BOOL: Datatype.BOOL,
    _TYPES.UINT8: Datatype.UINT8,
    _TYPES.UINT16: Datatype.UINT16,
    _TYPES.UINT32: Datatype.UINT32,
    _TYPES.UINT64: Datatype.UINT64,
    _TYPES.INT8: Datatype.INT8,
    _TYPES.INT16: Datatype.INT16,
    _TYPES.INT32: Datatype.INT32,
    _TYPES.INT64: Datatype.INT64,
    _TYPES.FLOAT16: Datatype.FP16,
    _TYPES.FLOAT: Datatype.FP32,
    _TYPES.DOUBLE: Datatype.FP64,
    _TYPES.BFLOAT16: Datatype.BF16,
    _TYPES.STRING: Datatype.BYTES,
    _TYPES.FLOAT8E4M3FN: Datatype.FLOAT8E4M3FN,
    _TYPES.FLOAT8E4M3FNUZ: Datatype.FLOAT8E4M3FNUZ,
    _TYPES.FLOAT8E5M2: Datatype.FLOAT8E5M2,
    _TYPES.FLOAT8E5M2FNUZ: Datatype.FLOAT8E5M2FNUZ,
    _TYPES.UINT4: Datatype.UINT4,
    _TYPES.INT4: Datatype.INT4,
}
"""Datatype of each ONNX element type (`TensorProto.DataType`) that can cross a cut."""

ELEMENT_TYPE_OF: Final[dict[Datatype, int]] = {datatype: code for code, datatype in DATATYPE_OF.items()}
"""The ONNX element type of each datatype."""

_RUNTIME_NAMES: Final[dict[str, Datatype]] = {
    "bool": Datatype.BOOL,
    "uint8": Datatype.UINT8,
    "uint16": Datatype.UINT16,
    "uint32": Datatype.UINT32,
    "uint64": Datatype.UINT64,
    "int8": Datatype.INT8,
    "int16": Datatype.INT16,
    "int32": Datatype.INT32,
    "int64": Datatype.INT64,
    "float16": Datatype.FP16,
    "float": Datatype.FP32,
    "double": Datatype.FP64,
    "bfloat16": Datatype.BF16,
    "string": Datatype.BYTES,
    "float8e4m3fn": Datatype.FLOAT8E4M3FN,
    "float8e4m3fnuz": Datatype.FLOAT8E4M3FNUZ,
    "float8e5m2": Datatype.FLOAT8E5M2,
    "float8e5m2fnuz": Datatype.FLOAT8E5M2FNUZ,
    "uint4": Datatype.UINT4,
    "int4": Datatype.INT4,
}


def element_type_name(code: int) -> str:
    """Returns ONNX's name of an element type; `element type N` for an unknown code."""
    try:
        return _TYPES.DataType.Name(code)
    except ValueError:
        return f"element type {code}"


def datatype_of_runtime_type(type_name: str) -> Datatype | None:
    """Returns the datatype for ONNX Runtime's name of a type, such as `tensor(float)`.

    None for anything but a dense tensor of a type that can be sent: sequences, maps, optional and
    sparse values, complex numbers.
    """
    if not (type_name.startswith("tensor(") and type_name.endswith(")")):
        return None
    return _RUNTIME_NAMES.get(type_name[len("tensor(") : -1])
