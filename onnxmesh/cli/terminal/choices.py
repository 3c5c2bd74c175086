"""Options whose value is one of a few words.

A wrong value is answered with the words that there are, and the one that was probably meant.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from onnxmesh.error_text import did_you_mean
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
    hint = did_you_mean(text, words)
    raise InvalidRequest(f"{option}: expected {' or '.join(words)}, got '{text}'{hint}")
