"""Counts in options: a positive number, or 'auto'."""

from __future__ import annotations

from onnxmesh.errors import InvalidRequest

AUTO = "auto"


def parse_count(option: str, text: str) -> int:
    """Returns the number of an option such as `--stages`; 0 for auto.

    Args:
        option: The option as it is typed, for the message.
        text: The value that was given.

    Raises:
        InvalidRequest: It is neither `auto` nor a positive number (INVALID_ARGUMENT).
    """
    if text == AUTO:
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise InvalidRequest(f"{option}: expected a positive number or 'auto', got '{text}'")
    return int(text)
