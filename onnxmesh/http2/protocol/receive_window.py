"""What a client may send."""

from __future__ import annotations


class ReceiveWindow:
    """One window, of a stream or of a whole connection, as the client knows it.

    Args:
        window_bytes: What may be under way and not taken.
    """

    __slots__ = ("_room", "_taken", "_window_bytes")

    def __init__(self, window_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._room = window_bytes
        self._taken = 0

    def arrive(self, num_bytes: int) -> bool:
        """Takes note of data; says whether the client was allowed to send it."""
        self._room -= num_bytes
        return self._room >= 0

    def take(self, num_bytes: int) -> int:
        """Takes note of data that no longer waits here.

        Returns:
            What the client is to be told that it may send more; 0: that is not worth a frame yet.
        """
        self._taken += num_bytes
        if 2 * self._taken < self._window_bytes:
            return 0
        more, self._taken = self._taken, 0
        self._room += more
        return more
