"""Shapes of a model's outputs, as its runs have shown them. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

Shape = tuple[int, ...]

MAX_KNOWN_SHAPES = 64
"""Forms of inputs that are remembered."""


class OutputShapes:
    """Foretells the shapes of outputs: those that the same form of inputs led to before.

    An output that once had another shape, for it depends on what is in the inputs, is not foretold any more.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, dict[str, Shape]] = {}
        self._varying: set[str] = set()

    def predict(self, form: Hashable) -> Mapping[str, Shape]:
        """Returns the shapes that outputs will have, as far as they are known.

        Args:
            form: What tells inputs apart: their shapes.
        """
        return self._known.get(form, {})

    def observe(self, form: Hashable, shapes: Mapping[str, Shape]) -> None:
        """Takes the shapes of outputs of a run."""
        if form not in self._known and len(self._known) >= MAX_KNOWN_SHAPES:
            self._known.clear()
        known = self._known.setdefault(form, {})
        for name, shape in shapes.items():
            if known.get(name, shape) != shape:
                self.mark_varying(name)
            elif name not in self._varying:
                known[name] = shape

    def mark_varying(self, name: str) -> None:
        """Takes that an output has shapes that nobody can foretell."""
        self._varying.add(name)
        for known in self._known.values():
            known.pop(name, None)
