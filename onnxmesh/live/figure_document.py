"""What one process says about a topic, as others find it in Redis. Pure: the time is given.

No clock but each process's own is relied on: a document says how old its figures were when it was written, and how long
it had to live; how much of that has passed is its age.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

import structlog

from onnxmesh.live.ageing import Aged
from onnxmesh.live.base import Values

_log = structlog.get_logger(__name__)


class ReceivedFigures(NamedTuple):
    """What another process has said; times are of this process's clock."""

    writer: str
    key: str
    values: Values
    said_s: float
    expires_s: float


def document_of(entries: Iterable[tuple[str, Aged[Values]]], now_s: float) -> tuple[str, int]:
    """Returns a document of these figures, and the milliseconds that it has to live: none are left of an empty one."""
    said = [
        (key, round(1000 * (now_s - entry.set_s)), round(1000 * (entry.expires_s - now_s)), entry.value)
        for key, entry in entries
    ]
    left_ms = max((each[2] for each in said), default=0)
    return json.dumps({"left_ms": left_ms, "said": said}), left_ms


def received_figures(writer: str, document: bytes, left_ms: int, now_s: float) -> list[ReceivedFigures]:
    """Reads a document of another process, which has `left_ms` to live of what it says it had; nothing if it is none."""
    try:
        content = json.loads(document)
        elapsed_s = max(0, content["left_ms"] - left_ms) / 1000
        return [
            ReceivedFigures(
                writer,
                key,
                values,
                now_s - elapsed_s - age_ms / 1000,
                now_s - elapsed_s + expires_ms / 1000,
            )
            for key, age_ms, expires_ms, values in content["said"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        _log.error("live_document_unreadable", writer=writer, error=repr(error))
        return []
