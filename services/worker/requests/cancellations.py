"""Which requests were given up. Pure."""

from __future__ import annotations

from collections import OrderedDict

from services.worker.requests.request_key import RequestKey

MAX_REMEMBERED = 16_384
"""Keys that are remembered; the oldest go first."""


class Cancellations:
    """Remembers cancelled requests for as long as their Activations may still come.

    A Cancel goes to every worker of a route at once and may be there before the Activation, or long after it
    has left; how many are remembered is bounded, so one that is forgotten too soon costs work but never memory.

    Args:
        max_remembered: How many keys are kept.
    """

    def __init__(self, max_remembered: int = MAX_REMEMBERED) -> None:
        self._max_remembered = max_remembered
        self._keys: OrderedDict[RequestKey, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: RequestKey) -> bool:
        return key in self._keys

    def add(self, key: RequestKey) -> None:
        """Remembers a key as the newest."""
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > self._max_remembered:
            self._keys.popitem(last=False)
