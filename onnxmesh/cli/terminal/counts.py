"""Counts of stages and replicas as options give them: a number, or 'auto'."""

from __future__ import annotations

from onnxmesh.errors import InvalidRequest

AUTO = "auto"


def parse_num_stages(text: str) -> int:
    """Returns the number that `--stages` asks for; 0 for auto.

    Raises:
        InvalidRequest: It is neither `auto` nor a positive number (INVALID_ARGUMENT).
    """
    return _count("--stages", text)


def parse_num_replicas(text: str) -> int:
    """Returns the number that `--replicas` asks for; 0 for auto.

    Raises:
        InvalidRequest: It is neither `auto` nor a positive number (INVALID_ARGUMENT).
    """
    return _count("--replicas", text)


def _count(option: str, text: str) -> int:
    if text == AUTO:
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise InvalidRequest(f"{option}: expected a positive number or 'auto', got '{text}'")
    return int(text)
