"""Dynamic batching at a stage: the requested spec, and the finding of the batching check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ANY_ROWS = 1 << 31
"""Number of rows that no request reaches: no limit."""


MAX_CHECK_S = 4.0
"""Time limit of the batching check by the clock. What is not checked in time is not batched."""


class BatchMode(StrEnum):
    """When requests may run in one batch."""

    AUTO = "auto"
    """Where the mode of the plan stays valid: equal bits in exact mode, the accepted difference in portable mode."""
    ON = "on"
    """Where the difference is at most that of portable mode, in exact mode too."""
    OFF = "off"


@dataclass(frozen=True, slots=True)
class BatchingSpec:
    """The requested batching of a model.

    Attributes:
        mode: When requests may run in one batch.
        max_rows: Most rows of one run; 0: chosen by the batching check.
    """

    mode: BatchMode = BatchMode.AUTO
    max_rows: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Returns the spec as plain values for JSON."""
        return {"mode": self.mode.value, "max_rows": self.max_rows}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> BatchingSpec:
        """Reads what `to_plain` wrote.

        Raises:
            KeyError, TypeError, ValueError: The value has another form.
        """
        return cls(BatchMode(plain["mode"]), int(plain["max_rows"]))


@dataclass(frozen=True, slots=True)
class StageBatching:
    """Finding of the batching check for one stage.

    Attributes:
        max_rows: Most rows of one run; 1: no batching.
        shared: Its inputs and outputs that are equal for any number of rows.
        largest_difference: Largest difference between batched and single runs, relative to the largest magnitude in the
            output; 0: equal bits.
        cpu_class: CPU class on which the bits were equal; empty: the finding does not depend on it.
        why_not: Why requests are not batched, for people; empty where they are.
        max_split_rows: Most rows of a request that may be split; 0: requests are not split.
        not_proven: Why the rows of a batch are not proven to be independent, where the owner demands batches all the same.
    """

    max_rows: int = 1
    shared: tuple[str, ...] = ()
    largest_difference: float = 0.0
    cpu_class: str = ""
    why_not: str = ""
    max_split_rows: int = 0
    not_proven: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Returns the finding as plain values for JSON."""
        return {
            "max_rows": self.max_rows,
            "shared": list(self.shared),
            "largest_difference": self.largest_difference,
            "cpu_class": self.cpu_class,
            "why_not": self.why_not,
            "max_split_rows": self.max_split_rows,
            "not_proven": self.not_proven,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> StageBatching:
        """Reads what `to_plain` wrote.

        Raises:
            KeyError, TypeError, ValueError: The value has another form.
        """
        return cls(
            max_rows=int(plain["max_rows"]),
            shared=tuple(str(name) for name in plain["shared"]),
            largest_difference=float(plain["largest_difference"]),
            cpu_class=str(plain["cpu_class"]),
            why_not=str(plain["why_not"]),
            max_split_rows=int(plain["max_split_rows"]),
            not_proven=str(plain["not_proven"]),
        )
