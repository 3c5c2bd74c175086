"""What activations of fewer bits do to a model's outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ActivationErrors:
    """What was found when a model was cut.

    Attributes:
        measured: For each way to lose bits, `fp16` and `int8`, the largest difference of an output's element where all
            boundaries are written so, relative to the largest magnitude in that output.
        why_not: Why nothing could be measured, for people; empty where it was.
    """

    measured: tuple[tuple[str, float], ...] = ()
    why_not: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Returns the finding as plain values for JSON."""
        return {"measured": [list(each) for each in self.measured], "why_not": self.why_not}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ActivationErrors:
        """Reads what `to_plain` wrote.

        Raises:
            KeyError, TypeError, ValueError: The value has another form.
        """
        measured = tuple((str(encoding), float(error)) for encoding, error in plain["measured"])
        return cls(measured, str(plain["why_not"]))


def compressible_tensors(live_out: Iterable[str], edge: Collection[str]) -> list[str]:
    """Returns which tensors on a boundary may lose bits at all: none that clients sent or are sent.

    Args:
        live_out: All tensors that cross it.
        edge: Inputs and outputs of the model.
    """
    return [name for name in live_out if name not in edge]
