"""Cancelled attempts, remembered until their Activations can no longer arrive."""

from __future__ import annotations

from collections import OrderedDict

from services.worker.requests.request_key import RequestKey

MAX_CANCELLED_KEYS = 16_384
"""Cancelled attempts that are remembered; the oldest are evicted first."""


class Cancellations:
    """Bounded set of cancelled attempts, least recently added evicted first.

    A Cancel goes to every worker of a route at once: it may arrive before the Activation, or long after the request
    has left. A key that is evicted too early costs a useless run, never memory.

    Args:
        max_keys: How many keys are remembered.
    """

    def __init__(self, max_keys: int = MAX_CANCELLED_KEYS) -> None:
        self._max_keys = max_keys
        self._keys: OrderedDict[RequestKey, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: RequestKey) -> bool:
        return key in self._keys

    def add(self, key: RequestKey) -> None:
        """Adds a key as the newest."""
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > self._max_keys:
            self._keys.popitem(last=False)
