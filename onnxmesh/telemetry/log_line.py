"""One line of a service's log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

LOUD_LEVELS = frozenset({"warning", "error", "critical"})
"""The levels that an operator in front of the mesh is told of."""

_SHOWN_ELSEWHERE = frozenset({"level", "event", "timestamp", "logger", "exception", "role", "service"})


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a line says.

    Attributes:
        level: In lower case; empty for a line that no logger wrote, such as a traceback's.
        text: The event and its figures, or the line as it is.
    """

    level: str
    text: str

    @property
    def loud(self) -> bool:
        """Whether the operator is told."""
        return self.level in LOUD_LEVELS


def parse_log_line(line: str) -> LogLine:
    """Reads one line as structlog's JSON renderer writes it; any other line is taken as it is."""
    try:
        document = json.loads(line) if line.startswith("{") else None
    except ValueError:
        document = None
    if not isinstance(document, dict) or "event" not in document:
        return LogLine("", line.rstrip())
    figures = [f"{key}={value}" for key, value in document.items() if key not in _SHOWN_ELSEWHERE]
    text = " ".join([str(document["event"]), *figures, _exception(document.get("exception"))]).rstrip()
    return LogLine(str(document.get("level", "")).lower(), text.replace("\n", " "))


def _exception(logged: Any) -> str:
    """The exception in a few words; structlog writes a list of its causes, the last one raised first."""
    if isinstance(logged, list):
        return f"{logged[0].get('exc_type')}: {logged[0].get('exc_value')}" if logged else ""
    return str(logged or "").rstrip().rsplit("\n", 1)[-1]
