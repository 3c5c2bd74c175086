"""Options that take one of a few words."""

from __future__ import annotations

from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from onnxmesh.errors import InvalidRequest

Choice = TypeVar("Choice", bound=StrEnum)


def choice(option: str, text: str, of: type[Choice]) -> Choice:
    """Returns what an option names.

    Args:
        option: As it is typed, for the message.
        text: What was given.
        of: What there is.

    Raises:
        InvalidRequest: It names nothing; one line says what there is (INVALID_ARGUMENT).
    """
    words = [member.value for member in of]
    if text in words:
        return of(text)
    alike = get_close_matches(text.lower(), words, n=1, cutoff=0.6)
    hint = f"; did you mean '{alike[0]}'?" if alike else ""
    raise InvalidRequest(f"{option}: expected {' or '.join(words)}, got '{text}'{hint}")
