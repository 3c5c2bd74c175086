"""Selectors: requirements on the labels of a worker.

Source: Kubernetes, "Labels and Selectors" (set-based requirements) and node affinity (`Gt`, `Lt`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from onnxmesh.routing.selectors.labels import Labels
from onnxmesh.routing.selectors.quantity import read_quantity


class Operator(Enum):
    """Comparison operators of a requirement."""

    EXISTS = "exists"
    ABSENT = "!"
    IN = "in"
    NOT_IN = "notin"
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="


@dataclass(frozen=True, slots=True)
class Requirement:
    """One comparison of a label.

    Attributes:
        key: The label.
        operator: The comparison.
        values: The values to compare with, for IN and NOT_IN.
        number: The number to compare with, for numeric comparisons.
        text: The requirement as it was written.
    """

    key: str
    operator: Operator
    values: frozenset[str]
    number: float
    text: str

    def is_met_by(self, labels: Labels) -> bool:
        """Whether a worker with these labels satisfies the requirement.

        A missing key satisfies only NOT_IN and ABSENT. Of a key with several values IN needs one to match, NOT_IN none.
        A value that is no number satisfies no numeric comparison.
        """
        values = labels.get(self.key, ())
        match self.operator:
            case Operator.EXISTS:
                return bool(values)
            case Operator.ABSENT:
                return not values
            case Operator.IN:
                return not self.values.isdisjoint(values)
            case Operator.NOT_IN:
                return self.values.isdisjoint(values)
            case _:
                return any(
                    self._compares(number) for value in values if (number := read_quantity(value)) is not None
                )

    def __str__(self) -> str:
        return self.text

    def _compares(self, number: float) -> bool:
        match self.operator:
            case Operator.LESS:
                return number < self.number
            case Operator.AT_MOST:
                return number <= self.number
            case Operator.MORE:
                return number > self.number
            case _:
                return number >= self.number


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that a worker must all meet; an empty selector matches every worker.

    Attributes:
        requirements: In the order in which they were written.
    """

    requirements: tuple[Requirement, ...] = ()

    def selects(self, labels: Labels) -> bool:
        """Whether a worker with these labels meets every requirement."""
        return all(requirement.is_met_by(labels) for requirement in self.requirements)

    def lacking(self, labels: Labels) -> tuple[Requirement, ...]:
        """Returns the requirements that a worker does not meet, in their order."""
        return tuple(requirement for requirement in self.requirements if not requirement.is_met_by(labels))

    def __and__(self, other: Selector) -> Selector:
        return Selector((*self.requirements, *other.requirements))

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __str__(self) -> str:
        return ", ".join(requirement.text for requirement in self.requirements)


ANY_WORKER = Selector()
"""The empty selector, which matches every worker."""
