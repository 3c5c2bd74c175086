"""Where a blocking query goes on. Pure."""

from __future__ import annotations


class BlockingIndex:
    """The index that the next query waits on.

    Source: https://developer.hashicorp.com/consul/api-docs/features/blocking
    """

    def __init__(self) -> None:
        self._value = 0

    @property
    def value(self) -> int:
        """What the next query is to wait beyond; 0: it is not to wait."""
        return self._value

    def answered(self, index: int) -> None:
        """Takes note of the index that came with an answer.

        One that goes backwards says that Consul's state was restored or lost: the next query does not wait.
        One below 1 would never block: 1 does.
        """
        self._value = 0 if index < self._value else max(1, index)

    def reset(self) -> None:
        """Has the next query answered at once, as after a failure."""
        self._value = 0
