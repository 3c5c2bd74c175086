"""The commands of a document: fenced blocks with their host, such as `sh on=one` or `python on=client once`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BLOCK = re.compile(
    r"^```(?P<language>\w+) on=(?P<host>\w+)(?P<once> once)?\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A block of commands for one host.

    Attributes:
        language: `sh` or `python`.
        host: The host that runs it.
        once: Whether it exits by itself.
        text: The commands.
    """

    language: str
    host: str
    once: bool
    text: str


def blocks(document):
    """Returns the blocks of a Markdown text in their order."""
    return [
        Block(found["language"], found["host"], found["once"] is not None, found["text"])
        for found in _BLOCK.finditer(document)
    ]
