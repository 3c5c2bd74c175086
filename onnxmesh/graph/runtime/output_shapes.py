"""Prediction of output shapes from earlier runs. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

Shape = tuple[int, ...]

MAX_KNOWN_SHAPES = 64
"""Combinations of input shapes that are remembered."""


class OutputShapes:
    """Predicts the shapes of outputs: those of the last run with the same input shapes.

    An output whose shape differed between such runs depends on the data and is not predicted any more.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, dict[str, Shape]] = {}
        self._varying: set[str] = set()

    def predict(self, input_shapes: Hashable) -> Mapping[str, Shape]:
        """Returns the predicted shapes by output name, as far as they are known."""
        return self._known.get(input_shapes, {})

    def observe(self, input_shapes: Hashable, shapes: Mapping[str, Shape]) -> None:
        """Records the shapes of the outputs of a run."""
        if input_shapes not in self._known and len(self._known) >= MAX_KNOWN_SHAPES:
            self._known.clear()
        known = self._known.setdefault(input_shapes, {})
        for name, shape in shapes.items():
            if known.get(name, shape) != shape:
                self.mark_varying(name)
            elif name not in self._varying:
                known[name] = shape

    def mark_varying(self, name: str) -> None:
        """Excludes an output from prediction."""
        self._varying.add(name)
        for known in self._known.values():
            known.pop(name, None)
