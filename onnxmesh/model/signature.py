"""Signature of a model: its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxmesh.model.tensor_spec import TensorSpec


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of a model, in the order of the graph.

    Inputs with a default (an initialiser of the same name) are not included: clients cannot override weights.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def to_plain(self) -> dict[str, Any]:
        """Returns the signature as plain values for JSON."""
        return {
            "inputs": [spec.to_plain() for spec in self.inputs],
            "outputs": [spec.to_plain() for spec in self.outputs],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Signature:
        """Reads what `to_plain` wrote.

        Raises:
            KeyError, TypeError, ValueError: The value has another form; the caller names the file.
        """
        return cls(
            inputs=tuple(TensorSpec.from_plain(spec) for spec in plain["inputs"]),
            outputs=tuple(TensorSpec.from_plain(spec) for spec in plain["outputs"]),
        )
