"""Spec of a tensor: name, datatype and shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, datatype and shape of an input or output of a model or a stage.

    Attributes:
        name: Name in the graph.
        datatype: Open Inference Protocol datatype (`FP32`, `BYTES`), or the ONNX name for an element
            type that the protocol lacks (`FLOAT8E4M3FN`).
        shape: Size of each dimension, -1 for a free one; None if the rank is unknown.
    """

    name: str
    datatype: str
    shape: tuple[int, ...] | None

    def to_plain(self) -> dict[str, Any]:
        """Returns the spec as plain values for JSON."""
        return {
            "name": self.name,
            "datatype": self.datatype,
            "shape": None if self.shape is None else list(self.shape),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TensorSpec:
        """Reads what `to_plain` wrote.

        Raises:
            KeyError, TypeError, ValueError: The value has another form; the caller names the file.
        """
        shape = plain["shape"]
        return cls(
            name=str(plain["name"]),
            datatype=str(plain["datatype"]),
            shape=None if shape is None else tuple(int(dim) for dim in shape),
        )
