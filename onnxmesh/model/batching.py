"""Requests that run together at a stage: what is wished, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ANY_ROWS = 1 << 31
"""More than any request has."""


class BatchMode(StrEnum):
    """When requests may run together."""

    AUTO = "auto"
    """Where the promise of the plan's mode is kept: not a bit changes in exact mode; in portable mode, less than what
    it accepts anyway."""
    ON = "on"
    """Where the difference is less than what portable mode accepts, in exact mode too."""
    OFF = "off"


@dataclass(frozen=True, slots=True)
class BatchingSpec:
    """What the operator asked for.

    Attributes:
        mode: When requests may run together.
        max_rows: Most rows of one run; 0: chosen.
    """

    mode: BatchMode = BatchMode.AUTO
    max_rows: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Returns the wish as plain values for JSON."""
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
    """What was found about one stage.

    Attributes:
        max_rows: Most rows of one run; 1: each request runs alone.
        shared: Its inputs and outputs that do not grow with the batch.
        largest_difference: Between a run together and runs alone, relative to the largest magnitude in the output;
            0: equal bit for bit.
        cpu_class: Class of the CPU that the bits were found equal on; empty: nothing relies on that.
        why_not: Why each request runs alone, for people; empty where they do not.
        max_split_rows: Most rows of a request that may be run in pieces; 0: none may.
    """

    max_rows: int = 1
    shared: tuple[str, ...] = ()
    largest_difference: float = 0.0
    cpu_class: str = ""
    why_not: str = ""
    max_split_rows: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Returns the finding as plain values for JSON."""
        return {
            "max_rows": self.max_rows,
            "shared": list(self.shared),
            "largest_difference": self.largest_difference,
            "cpu_class": self.cpu_class,
            "why_not": self.why_not,
            "max_split_rows": self.max_split_rows,
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
        )
