"""Why a connection failed, in words, from gRPC's own text."""

from __future__ import annotations

NO_GRPC = "what listens there does not speak gRPC"

_CLOSED = "what listens there closes the connection; it may expect another protocol, such as TLS"
_REASONS = (
    ("Connection refused", "nothing listens there"),
    ("Failed parsing HTTP/2", NO_GRPC),
    ("before receiving SETTINGS", NO_GRPC),
    ("http1", NO_GRPC),
    ("reset by peer", _CLOSED),
    ("Socket closed", _CLOSED),
    ("Domain name not found", "there is no host of that name"),
    ("resol", "the name of the host cannot be resolved"),
    ("timed out", "the connection timed out"),
    ("No route to host", "there is no route to that host"),
    ("unreachable", "its network cannot be reached"),
)
"""A part of gRPC's text for a failed connection, and the reason; the first that fits counts."""


def connection_reason(details: str) -> str:
    """Returns why a connection failed; an empty text if gRPC's text is not known."""
    return next((reason for part, reason in _REASONS if part in details), "")
