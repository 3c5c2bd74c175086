"""Index of a blocking query. Pure."""

from __future__ import annotations


class BlockingIndex:
    """The index that the next blocking query waits on.

    Source: https://developer.hashicorp.com/consul/api-docs/features/blocking
    """

    def __init__(self) -> None:
        self._value = 0

    @property
    def value(self) -> int:
        """The index that the next query waits beyond; 0: it does not wait."""
        return self._value

    def advance(self, index: int) -> None:
        """Records the index of an answer.

        An index that goes backwards means that Consul's state was restored or lost: the next query does not wait.
        An index below 1 would never block, so 1 is used instead.
        """
        self._value = 0 if index < self._value else max(1, index)

    def reset(self) -> None:
        """Makes the next query return at once, as after a failure."""
        self._value = 0
