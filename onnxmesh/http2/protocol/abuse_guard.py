"""How long a client is borne with that only makes work."""

from __future__ import annotations

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.limits import EdgeLimits

_RESETS_WINDOW_S = 1.0


class AbuseGuard:
    """Counts what one client makes the server do for nothing.

    Args:
        limits: How much of it is borne.
    """

    __slots__ = (
        "_has_taken",
        "_has_waited",
        "_limits",
        "_num_idle_frames",
        "_num_resets",
        "_num_unread",
        "_resets_since_s",
    )

    def __init__(self, limits: EdgeLimits) -> None:
        self._limits = limits
        self._num_idle_frames = 0
        self._num_resets = 0
        self._resets_since_s = 0.0
        self._num_unread = 0
        self._has_waited = False
        self._has_taken = False

    def progress(self) -> None:
        """A call began, or data of one came."""
        self._num_idle_frames = 0

    def takes(self) -> None:
        """Data of an answer went out."""
        self._num_idle_frames = 0
        self._has_taken = True

    def look(self, *, waits: bool) -> None:
        """Is called once in `untaken_s`, and told whether answers wait; idle frames count anew, for a client that is well may ping for days.

        Raises:
            ConnectionFault: They did the last time, too, and the client has taken nothing since.
        """
        if waits and self._has_waited and not self._has_taken:
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM,
                f"nothing of the answers was taken for {self._limits.untaken_s:g} s",
            )
        self._has_waited, self._has_taken = waits, False
        self._num_idle_frames = 0

    def idle_frame(self) -> None:
        """A frame brought no call on: ping, settings, window, priority, empty or late data.

        Raises:
            ConnectionFault: Too many came in a row.
        """
        self._num_idle_frames += 1
        if self._num_idle_frames > self._limits.max_idle_frames:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that bring nothing on")

    def reset(self, now_s: float) -> None:
        """A call was given up, or was one too many.

        Raises:
            ConnectionFault: Too many were within a second.
        """
        if now_s - self._resets_since_s > _RESETS_WINDOW_S:
            self._resets_since_s = now_s
            self._num_resets = 0
        self._num_resets += 1
        if self._num_resets > self._limits.max_resets_per_s:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many calls were given up")

    def unread(self) -> None:
        """An answer to such a frame waits, for the client does not read.

        Raises:
            ConnectionFault: Too many wait.
        """
        self._num_unread += 1
        if self._num_unread > self._limits.max_unread:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "answers are not read")

    def reads(self) -> None:
        """The client reads again."""
        self._num_unread = 0
