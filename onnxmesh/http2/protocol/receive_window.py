"""Flow control window for data that is received."""

from __future__ import annotations


class ReceiveWindow:
    """Flow control window of a stream or of a connection, as the client knows it.

    Args:
        window_bytes: The most that may have been received and not consumed.
    """

    __slots__ = ("_available_bytes", "_consumed_bytes", "_window_bytes")

    def __init__(self, window_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._available_bytes = window_bytes
        self._consumed_bytes = 0

    def receive(self, num_bytes: int) -> bool:
        """Subtracts received data; returns whether the window allowed it."""
        self._available_bytes -= num_bytes
        return self._available_bytes >= 0

    def consume(self, num_bytes: int) -> int:
        """Records data that was consumed.

        Returns:
            The increment to send in WINDOW_UPDATE; 0 as long as it is less than half of the window.
        """
        self._consumed_bytes += num_bytes
        if 2 * self._consumed_bytes < self._window_bytes:
            return 0
        increment, self._consumed_bytes = self._consumed_bytes, 0
        self._available_bytes += increment
        return increment
