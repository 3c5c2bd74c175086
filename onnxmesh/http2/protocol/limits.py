"""Limits of one HTTP/2 connection."""

from __future__ import annotations

from dataclasses import dataclass

_MAX_GRPC_MESSAGE_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AbuseLimits:
    """Limits of what a client may cost the server without a call's progress.

    Attributes:
        max_idle_frames: Frames in a row, within `stall_s`, without progress of a call: PING, SETTINGS, empty DATA.
        max_resets_per_s: Calls that may be reset within a second.
        max_long_headers_bytes: What header blocks over `max_headers_bytes` may have together within `stall_s`; a mebibyte takes up to 0.4 s.
        max_unread_replies: Replies to PING, SETTINGS and stream errors that may wait while the client does not read.
        stall_s: Seconds that responses may be blocked by the client; the connection ends after twice as many at the latest.
        preface_s: Seconds until the client's preface and SETTINGS must have been received.
    """

    max_idle_frames: int = 10_000
    max_resets_per_s: int = 5_000
    max_long_headers_bytes: int = 16 << 20
    max_unread_replies: int = 1_000
    stall_s: float = 60.0
    preface_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits of one connection; most of them are announced to the client in SETTINGS.

    Attributes:
        max_message_bytes: The longest message of a request, as received and decompressed.
        max_calls: Concurrent calls, including those that were reset and whose handlers have not ended.
        max_headers_bytes: The longest header block, compressed and not. A longer one fails its own call; one of 16 times the length, that
            references make 4 times as long, or that changes the table very often (`header_fields`), ends the connection.
        max_frame_bytes: The longest payload of a frame.
        connection_window_bytes: Flow control window of the connection: data of requests that no handler has consumed.
        stream_window_bytes: Flow control window of one call.
        settle_s: Seconds between the two GOAWAY of a shutdown at most, and until a closing connection is aborted.
        abuse: Limits of work without progress.
    """

    max_message_bytes: int = _MAX_GRPC_MESSAGE_BYTES
    max_calls: int = 4_096
    max_headers_bytes: int = 64 << 10
    max_frame_bytes: int = 1 << 20
    connection_window_bytes: int = 16 << 20
    stream_window_bytes: int = 4 << 20
    settle_s: float = 1.0
    abuse: AbuseLimits = AbuseLimits()

    @property
    def max_skipped_headers_bytes(self) -> int:
        """The longest header block that is read to its end, for what it does to the dynamic table."""
        return 16 * self.max_headers_bytes
