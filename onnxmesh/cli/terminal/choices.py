"""Options whose value is one of a few words."""

from __future__ import annotations

from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from onnxmesh.errors import InvalidRequest

Choice = TypeVar("Choice", bound=StrEnum)


def parse_choice(option: str, text: str, choices: type[Choice]) -> Choice:
    """Returns the member that an option's text names.

    Args:
        option: The option as it is typed, for the message.
        text: The value that was given.
        choices: The values that there are.

    Raises:
        InvalidRequest: No member has that value; the message lists them (INVALID_ARGUMENT).
    """
    words = [member.value for member in choices]
    if text in words:
        return choices(text)
    alike = get_close_matches(text.lower(), words, n=1, cutoff=0.6)
    hint = f"; did you mean '{alike[0]}'?" if alike else ""
    raise InvalidRequest(f"{option}: expected {' or '.join(words)}, got '{text}'{hint}")
