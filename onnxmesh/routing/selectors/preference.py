"""What is preferred of a worker: selectors with weights."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from onnxmesh.errors import InvalidRequest
from onnxmesh.routing.selectors.selector import Selector
from onnxmesh.routing.selectors.selector_text import parse_selector

MAX_WEIGHT = 100
"""A preference of this weight is worth a wait of as long as the stage typically computes for one request."""

_WEIGHTED = re.compile(r"(.*):([0-9]{1,9})", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Preference:
    """One preference.

    Attributes:
        selector: Whom it prefers.
        weight: From 1 to `MAX_WEIGHT`.
    """

    selector: Selector
    weight: int = 1

    def __str__(self) -> str:
        return f"{self.selector}:{self.weight}"


def parse_preference(text: str) -> Preference:
    """Reads `SELECTOR` or `SELECTOR:WEIGHT`; without one the weight is 1.

    A value that itself ends in a colon and digits stands in double quotes.

    Raises:
        InvalidRequest: Selector or weight is none (INVALID_ARGUMENT).
    """
    weighted = _WEIGHTED.fullmatch(text)
    if weighted is None:
        return Preference(parse_selector(text))
    weight = int(weighted[2])
    if not 1 <= weight <= MAX_WEIGHT:
        raise InvalidRequest(
            f"preference {text[:80]!r}: expected a weight from 1 to {MAX_WEIGHT}, got {weight}"
        )
    return Preference(parse_selector(weighted[1]), weight)


def parse_preferences(texts: Iterable[str]) -> tuple[Preference, ...]:
    """Reads several.

    Raises:
        InvalidRequest: One is none (INVALID_ARGUMENT).
    """
    return tuple(parse_preference(text) for text in texts)
