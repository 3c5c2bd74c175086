"""What to believe of a registry that comes and goes. Pure, with the time given by the caller."""

from __future__ import annotations

from collections.abc import Mapping

from onnxmesh.discovery.instance import Instance

CONFIRM_S = 1.2
"""An instance is gone once it was unhealthy for so long.

One failed check is no death: an agent that starts again calls everything unhealthy until it has checked, within
one interval (1 s). With a check each second that gives up after 0.8 s, even a process that merely hangs is out
within 3 s.
"""

SETTLE_S = 5.0
"""A registry that comes back after an outage may have forgotten whom it has yet to hear of: for so long
nobody is dropped."""


class SettledView:
    """Instances of one role: joins are believed at once, losses once they are confirmed.

    Args:
        confirm_s: An instance is gone once it was unhealthy for so long.
        settle_s: After an outage nobody is dropped for so long.
    """

    def __init__(self, confirm_s: float = CONFIRM_S, settle_s: float = SETTLE_S) -> None:
        self._confirm_s = confirm_s
        self._settle_s = settle_s
        self._shown: dict[str, Instance] = {}
        self._missing_since_s: dict[str, float] = {}
        self._stale = False
        self._settled_at_s: float | None = None

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Who is there, as far as is known."""
        return self._shown

    @property
    def stale(self) -> bool:
        """Whether the registry is away: this is its last word."""
        return self._stale

    @property
    def unsettled(self) -> bool:
        """Whether time alone may change the view: it must be told of the same answer again soon."""
        return bool(self._missing_since_s)

    def lost(self) -> None:
        """Takes note that the registry does not answer."""
        self._stale = True

    def answered(
        self, healthy: Mapping[str, Instance], unhealthy: Mapping[str, Instance], now_s: float
    ) -> None:
        """Takes an answer of the registry: who is registered, by id.

        Args:
            healthy: Those whose checks pass.
            unhealthy: Those whose checks fail. Whoever is in neither has left in order.
            now_s: When it was.
        """
        if self._stale:
            self._stale = False
            self._settled_at_s = now_s + self._settle_s
        settling = self._settled_at_s is not None and now_s < self._settled_at_s
        kept: dict[str, Instance] = {}
        missing: dict[str, float] = {}
        for id_, instance in self._shown.items():
            if id_ in healthy:
                continue
            since_s = self._missing_since_s.get(id_, now_s)
            failing = unhealthy.get(id_)
            same = failing is not None and failing.generation == instance.generation
            if settling or (same and now_s < since_s + self._confirm_s):
                kept[id_] = instance
                missing[id_] = since_s
        self._missing_since_s = missing
        self._shown = kept | dict(healthy)
