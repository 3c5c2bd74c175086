"""Typed contents of a request's inputs, converted to raw bytes.

They cost several times as much as raw contents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxmesh.errors import InvalidRequest
from onnxmesh.oip.open_inference_pb2 import InferTensorContents
from onnxmesh.tensors.bytes_codec import encode_bytes
from onnxmesh.tensors.datatype import NUMPY, Datatype

FIELDS = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}
"""The field for the elements of each datatype. The others have none: FP16 and BF16 are sent raw."""

_NARROW = frozenset({Datatype.INT8, Datatype.INT16, Datatype.UINT8, Datatype.UINT16})


def raw_from_typed(
    contents: InferTensorContents, datatype: Datatype, shape: Sequence[int], name: str
) -> bytes:
    """Returns the raw form of typed contents.

    Args:
        contents: Typed contents; may be empty for an empty tensor.
        datatype: Declared element type.
        shape: Shape of the tensor, already checked.
        name: Name of the tensor, for the error.

    Raises:
        InvalidRequest: The wrong field or count, an element that does not fit the datatype, or a
            datatype without a field (INVALID_ARGUMENT).
    """
    expected = 1
    for dimension in shape:
        expected *= dimension
    used = [descriptor.name for descriptor, _ in contents.ListFields()]
    field = FIELDS.get(datatype)
    if field is None:
        if expected == 0 and not used:
            return b""
        raise InvalidRequest(
            f"input '{name}': {datatype} has no typed contents, send it in raw_input_contents"
        )
    if any(other != field for other in used):
        raise InvalidRequest(
            f"input '{name}': expected {field} for {datatype}, got {', '.join(sorted(used))}"
        )
    elements: Any = getattr(contents, field)
    if len(elements) != expected:
        raise InvalidRequest(
            f"input '{name}': expected {expected} elements in {field} for {datatype} "
            f"[{','.join(map(str, shape))}], got {len(elements)}"
        )
    if datatype is Datatype.BYTES:
        return encode_bytes(elements)
    if datatype in _NARROW:
        return _narrow(elements, datatype, name)
    return np.fromiter(elements, dtype=NUMPY[datatype], count=expected).tobytes()


def _narrow(elements: Sequence[int], datatype: Datatype, name: str) -> bytes:
    wide = np.fromiter(elements, dtype=np.int64, count=len(elements))
    limits = np.iinfo(NUMPY[datatype].name)
    wrong = np.flatnonzero((wide < limits.min) | (wide > limits.max))
    if wrong.size:
        raise InvalidRequest(
            f"input '{name}': element {wrong[0]} is {wide[wrong[0]]}, "
            f"expected {datatype} of {limits.min} to {limits.max}"
        )
    return wide.astype(NUMPY[datatype]).tobytes()
