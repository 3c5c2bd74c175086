"""The JSON document in Redis that holds one process's entries of one topic. Pure: the caller passes the time.

Clocks of different processes are never compared: a document states the age of its entries at the time of writing and the
time to live that it had; the part of it that has passed since is the document's own age.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

import structlog

from onnxmesh.live.base import Values
from onnxmesh.live.expiring_dict import ExpiringValue

_log = structlog.get_logger(__name__)


class ReceivedEntry(NamedTuple):
    """An entry of another process; times are of this process's clock."""

    writer: str
    key: str
    values: Values
    published_s: float
    expires_s: float


def encode_document(entries: Iterable[tuple[str, ExpiringValue[Values]]], now_s: float) -> tuple[str, int]:
    """Returns the document of these entries and its time to live in milliseconds, 0 without entries."""
    rows = [
        (key, round(1000 * (now_s - entry.set_s)), round(1000 * (entry.expires_s - now_s)), entry.value)
        for key, entry in entries
    ]
    left_ms = max((row[2] for row in rows), default=0)
    return json.dumps({"left_ms": left_ms, "said": rows}), left_ms


def decode_document(writer: str, document: bytes, left_ms: int, now_s: float) -> list[ReceivedEntry]:
    """Returns the entries of another process's document; none if it is malformed.

    Args:
        writer: The process that wrote it.
        document: Its bytes.
        left_ms: What remains of its time to live.
        now_s: The time of this process's clock.
    """
    try:
        content = json.loads(document)
        elapsed_s = max(0, content["left_ms"] - left_ms) / 1000
        return [
            ReceivedEntry(
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
