"""Shapes of a model's inputs that a plan assumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnxmesh.error_text import did_you_mean, listed
from onnxmesh.errors import InvalidRequest
from onnxmesh.model.tensor_spec import TensorSpec

Dim = int | str | None
"""A dimension: a size, a symbol with one size wherever it occurs, or unknown."""


@dataclass(frozen=True, slots=True)
class InputShapes:
    """Typical sizes of free dimensions. Requests may differ: only estimates depend on them.

    Attributes:
        batch: Size of the first dimension of every input where that is free.
        inputs: Whole shapes, by input; they take precedence over `batch`.

    Raises:
        InvalidRequest: A size is negative, or `batch` is less than 1 (INVALID_ARGUMENT).
    """

    batch: int = 1
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InvalidRequest(f"batch: expected 1 or more, got {self.batch}")
        for name, shape in self.inputs.items():
            if min(shape, default=0) < 0:
                raise InvalidRequest(f"shape for '{name}': expected sizes of 0 or more, got {list(shape)}")

    def of(
        self, specs: Sequence[TensorSpec], symbols: Mapping[str, Sequence[Dim]] | None = None
    ) -> dict[str, tuple[int, ...]]:
        """Returns a shape for every input.

        A free dimension has the size that a given shape sets for its symbol, else `batch` if it is the first, else 1.

        Args:
            specs: The model's inputs.
            symbols: Declared dimensions, by input; equal symbols have equal sizes.

        Raises:
            InvalidRequest: A shape is for an unknown input, or contradicts the model or another shape (INVALID_ARGUMENT).
        """
        sizes = self.symbol_sizes(specs, symbols or {})
        return {
            spec.name: self.inputs[spec.name]
            if spec.name in self.inputs
            else tuple(
                dim if dim >= 0 else sizes.get(symbol, 1) if symbol else self._default(axis)
                for axis, (dim, symbol) in enumerate(_named(spec, symbols or {}))
            )
            for spec in specs
        }

    def symbol_sizes(
        self, specs: Sequence[TensorSpec], symbols: Mapping[str, Sequence[Dim]]
    ) -> dict[str, int]:
        """Returns the size of every symbol of the inputs.

        Args:
            specs: The model's inputs.
            symbols: Declared dimensions, by input.

        Raises:
            InvalidRequest: A shape is for an unknown input, or contradicts the model or another shape (INVALID_ARGUMENT).
        """
        names = [spec.name for spec in specs]
        for name in self.inputs:
            if name not in names:
                known = listed(names, quoted=False)
                raise InvalidRequest(
                    f"shape for '{name}': the model's inputs are {known}{did_you_mean(name, names)}"
                )
        found: dict[str, int] = {}
        set_by: dict[str, str] = {}
        for spec in specs:
            given = self.inputs.get(spec.name)
            if given is None:
                continue
            _check_fits(spec, given)
            for size, (dim, symbol) in zip(given, _named(spec, symbols), strict=False):
                if dim >= 0 or not symbol:
                    continue
                if found.setdefault(symbol, size) != size:
                    raise InvalidRequest(
                        f"dimension '{symbol}' is {found[symbol]} in the shape for '{set_by[symbol]}' "
                        f"and {size} in that for '{spec.name}'"
                    )
                set_by.setdefault(symbol, spec.name)
        # A symbol that is the first dimension of any input is the batch, at other axes too.
        for first in (True, False):
            for spec in specs:
                for axis, (dim, symbol) in enumerate(_named(spec, symbols)):
                    if dim < 0 and symbol and (axis == 0) is first:
                        found.setdefault(symbol, self._default(axis))
        return found

    def _default(self, axis: int) -> int:
        return self.batch if axis == 0 else 1

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


def shapes_text(shapes: Mapping[str, tuple[int, ...]], most: int = 4) -> str:
    """Returns the shapes of inputs as text, of the first few by name: `ids 1x128, mask 1x128`."""
    texts = [f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in shapes.items()]
    rest = [f"{len(texts) - most} more"] if len(texts) > most else []
    return ", ".join(texts[:most] + rest)


def _named(spec: TensorSpec, symbols: Mapping[str, Sequence[Dim]]) -> list[tuple[int, str]]:
    """Returns the dimensions of an input, each with its symbol or an empty string."""
    declared = symbols.get(spec.name, ())
    shape = spec.shape or ()
    return [
        (dim, str(declared[axis]) if axis < len(declared) and isinstance(declared[axis], str) else "")
        for axis, dim in enumerate(shape)
    ]


def _check_fits(spec: TensorSpec, given: tuple[int, ...]) -> None:
    if spec.shape is None:
        return
    fits = len(given) == len(spec.shape) and all(
        want in {-1, dim} for want, dim in zip(spec.shape, given, strict=True)
    )
    if not fits:
        raise InvalidRequest(
            f"shape for '{spec.name}': expected {list(spec.shape)} (-1 is free), got {list(given)}"
        )
