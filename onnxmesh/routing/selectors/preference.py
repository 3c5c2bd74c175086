"""Preferences: selectors with weights that improve a worker's score."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from onnxmesh.errors import InvalidRequest
from onnxmesh.routing.selectors.selector import Selector
from onnxmesh.routing.selectors.selector_text import parse_selector

MAX_WEIGHT = 100
"""A preference of this weight is worth a wait of one typical compute time of the stage."""

_WEIGHTED = re.compile(r"(.*):([0-9]{1,9})", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Preference:
    """A preference for workers that a selector matches.

    Attributes:
        selector: The preferred workers.
        weight: From 1 to `MAX_WEIGHT`.
    """

    selector: Selector
    weight: int = 1

    def __str__(self) -> str:
        return f"{self.selector}:{self.weight}"


def parse_preference(text: str) -> Preference:
    """Parses `SELECTOR` or `SELECTOR:WEIGHT`; the default weight is 1.

    A value that itself ends in a colon and digits must be in double quotes.

    Raises:
        InvalidRequest: Selector or weight is malformed (INVALID_ARGUMENT).
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
    """Parses several preferences.

    Raises:
        InvalidRequest: One is malformed (INVALID_ARGUMENT).
    """
    return tuple(parse_preference(text) for text in texts)
