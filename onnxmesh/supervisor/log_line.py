"""Log lines of a service, parsed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

WARNING_LEVELS = frozenset({"warning", "error", "critical"})
"""The levels that a supervisor reports."""

_OTHER_FIELDS = frozenset({"level", "event", "timestamp", "logger", "exception", "role", "service"})


@dataclass(frozen=True, slots=True)
class LogLine:
    """A parsed line of a log.

    Attributes:
        level: In lower case; empty for a line that no logger wrote, such as one of a traceback.
        text: The event and its fields, or the line unchanged.
    """

    level: str
    text: str

    @property
    def is_warning(self) -> bool:
        """Whether its level is `warning` or above."""
        return self.level in WARNING_LEVELS


def parse_log_line(line: str) -> LogLine:
    """Parses a line of structlog's JSON renderer; any other line is returned unchanged, without a level."""
    try:
        document = json.loads(line) if line.startswith("{") else None
    except ValueError:
        document = None
    if not isinstance(document, dict) or "event" not in document:
        return LogLine("", line.rstrip())
    values = [f"{key}={value}" for key, value in document.items() if key not in _OTHER_FIELDS]
    text = " ".join([str(document["event"]), *values, _exception(document.get("exception"))]).rstrip()
    return LogLine(str(document.get("level", "")).lower(), text.replace("\n", " "))


def _exception(logged: Any) -> str:
    """Returns the exception's type and message; structlog writes a list of causes, the last one raised first."""
    if isinstance(logged, list):
        return f"{logged[0].get('exc_type')}: {logged[0].get('exc_value')}" if logged else ""
    return str(logged or "").rstrip().rsplit("\n", 1)[-1]
