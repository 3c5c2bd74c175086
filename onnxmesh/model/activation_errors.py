"""Output errors caused by lossy activations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ActivationErrors:
    """Errors measured when a model was cut.

    Attributes:
        measured: For each lossy encoding, `fp16` and `int8`, the largest difference of an output element where all
            boundaries are encoded so, relative to the largest magnitude in that output.
        why_not: Why nothing was measured, for people; empty where it was.
    """

    measured: tuple[tuple[str, float], ...] = ()
    why_not: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Returns the errors as plain values for JSON."""
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
    """Returns the tensors of a boundary that may be compressed with loss: no inputs or outputs of the model.

    Args:
        live_out: Names of all tensors of the boundary.
        edge: Names of the model's inputs and outputs.
    """
    return [name for name in live_out if name not in edge]
