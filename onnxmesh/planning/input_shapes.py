"""The shapes of a model's inputs that a plan is made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxmesh.errors import InvalidRequest
from onnxmesh.planning.tensor_spec import TensorSpec


@dataclass(frozen=True, slots=True)
class InputShapes:
    """What free dimensions will mostly be. Requests may have others: only estimates depend on it.

    Attributes:
        batch: Figure for the first dimension of every input where that is free.
        inputs: Whole shapes, by input; they win over `batch`.
    """

    batch: int = 1
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def of(self, specs: tuple[TensorSpec, ...]) -> dict[str, tuple[int, ...]]:
        """Returns a shape for every input; dimensions about which nothing is known are 1.

        Args:
            specs: The model's inputs.

        Raises:
            InvalidRequest: A shape is for no input, or contradicts the model (INVALID_ARGUMENT).
        """
        names = [spec.name for spec in specs]
        for name in self.inputs:
            if name not in names:
                raise InvalidRequest(f"shape for '{name}': the model's inputs are {', '.join(names)}")
        return {spec.name: self._of(spec) for spec in specs}

    def _of(self, spec: TensorSpec) -> tuple[int, ...]:
        given = self.inputs.get(spec.name)
        if given is None:
            declared = spec.shape or ()
            return tuple(
                dim if dim >= 0 else self.batch if axis == 0 else 1 for axis, dim in enumerate(declared)
            )
        if spec.shape is not None:
            fits = len(given) == len(spec.shape) and all(
                want in {-1, dim} for want, dim in zip(spec.shape, given, strict=True)
            )
            if not fits:
                raise InvalidRequest(
                    f"shape for '{spec.name}': expected {list(spec.shape)} (-1 is free), got {list(given)}"
                )
        return given

    def to_plain(self) -> dict[str, Any]:
        """Returns the shapes as plain values for JSON."""
        return {"batch": self.batch, "inputs": {name: list(shape) for name, shape in self.inputs.items()}}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> InputShapes:
        """Reads what `to_plain` wrote.

        Raises:
            KeyError, TypeError, ValueError: The value has another form.
        """
        inputs = {str(name): tuple(map(int, shape)) for name, shape in plain["inputs"].items()}
        return cls(int(plain["batch"]), inputs)
