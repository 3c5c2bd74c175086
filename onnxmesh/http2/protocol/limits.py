"""How much one client may ask of the edge."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.rpc.grpc.channel import MAX_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """What one connection is allowed.

    Attributes:
        max_message_bytes: The longest message that is taken.
        max_calls: Calls at once, those included that were given up and whose handlers have not ended.
        max_headers_bytes: The headers of one call.
        max_frame_bytes: The longest frame.
        connection_window_bytes: What may be under way to calls that have not taken it, all together.
        stream_window_bytes: The same for one call.
        max_idle_frames: Frames in a row, within `untaken_s`, that bring no call on: pings, settings, empty data.
        max_resets_per_s: Calls that may be given up within a second.
        max_unread: Answers to pings, settings and the like that may wait while the client does not read.
        untaken_s: Seconds that answers may wait for a client that takes nothing; it is left after twice as many at the latest.
        preface_s: Seconds until the client must have said that it speaks HTTP/2.
        settle_s: Seconds that a client gets to see that the server goes, and to take the last that it is sent.
    """

    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_calls: int = 4_096
    max_headers_bytes: int = 64 << 10
    max_frame_bytes: int = 1 << 20
    connection_window_bytes: int = 16 << 20
    stream_window_bytes: int = 4 << 20
    max_idle_frames: int = 10_000
    max_resets_per_s: int = 5_000
    max_unread: int = 1_000
    untaken_s: float = 60.0
    preface_s: float = 20.0
    settle_s: float = 1.0
