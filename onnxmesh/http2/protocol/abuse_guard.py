"""Abuse limits of one connection: idle frames, resets, unread replies, stalled responses."""

from __future__ import annotations

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.limits import AbuseLimits

_RESET_PERIOD_S = 1.0


class AbuseGuard:
    """Counts one client's frames that cause work without progress; over a limit the connection ends with ENHANCE_YOUR_CALM.

    Args:
        limits: The largest counts, and the longest stall.
    """

    __slots__ = (
        "_has_sent_data",
        "_limits",
        "_long_headers_bytes",
        "_num_idle_frames",
        "_num_resets",
        "_num_unread_replies",
        "_reset_period_start_s",
        "_was_blocked",
    )

    def __init__(self, limits: AbuseLimits) -> None:
        self._limits = limits
        self._num_idle_frames = 0
        self._long_headers_bytes = 0
        self._num_resets = 0
        self._reset_period_start_s = 0.0
        self._num_unread_replies = 0
        self._was_blocked = False
        self._has_sent_data = False

    def record_progress(self) -> None:
        """Records the start of a call, or data of its request."""
        self._num_idle_frames = 0

    def record_sent_data(self) -> None:
        """Records data of a response that was sent."""
        self._num_idle_frames = 0
        self._has_sent_data = True

    def count_idle_frame(self) -> None:
        """Counts a frame without progress of a call: PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty or late DATA.

        Raises:
            ConnectionFault: There were too many in a row.
        """
        self._num_idle_frames += 1
        if self._num_idle_frames > self._limits.max_idle_frames:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames without progress of a call")

    def count_long_headers(self, num_bytes: int) -> None:
        """Counts the bytes of a header block that was over the limit, and was read to its end all the same.

        Raises:
            ConnectionFault: There were too many since the last `check_stall`.
        """
        self._long_headers_bytes += num_bytes
        if self._long_headers_bytes > self._limits.max_long_headers_bytes:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many requests had headers over the limit")

    def count_reset(self, now_s: float) -> None:
        """Counts a call that the client reset, or that was refused.

        Raises:
            ConnectionFault: There were too many within a second.
        """
        if now_s - self._reset_period_start_s > _RESET_PERIOD_S:
            self._reset_period_start_s = now_s
            self._num_resets = 0
        self._num_resets += 1
        if self._num_resets > self._limits.max_resets_per_s:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many calls were reset")

    def count_unread_reply(self) -> None:
        """Counts a reply to PING, SETTINGS or a stream error that waits because the client does not read.

        Raises:
            ConnectionFault: Too many wait.
        """
        self._num_unread_replies += 1
        if self._num_unread_replies > self._limits.max_unread_replies:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many replies are not read")

    def record_reading(self) -> None:
        """Records that the client reads again: no reply waits any more."""
        self._num_unread_replies = 0

    def check_stall(self, *, is_blocked: bool) -> None:
        """Checks, once in `stall_s`, that responses make progress; idle frames and long headers are counted from 0 again, for pings may go on for days.

        Args:
            is_blocked: Whether responses wait for the client's flow control windows, or for it to read.

        Raises:
            ConnectionFault: They waited at the last check too, and no data was sent since.
        """
        if is_blocked and self._was_blocked and not self._has_sent_data:
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM,
                f"responses have been blocked by the client for {self._limits.stall_s:g} s",
            )
        self._was_blocked, self._has_sent_data = is_blocked, False
        self._num_idle_frames = 0
        self._long_headers_bytes = 0
