"""View of an unreliable registry: joins count at once, losses once they are confirmed. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Mapping

from onnxmesh.discovery.instance import Instance

CONFIRM_S = 1.2
"""An instance is removed after it was unhealthy for this long.

One failed check is not enough: an agent that restarts reports everything as unhealthy until it has checked, within
one interval (1 s). With a check each second that times out after 0.8 s, even a process that hangs is removed within 3 s.
"""

OUTAGE_SETTLE_S = 5.0
"""After an outage a registry may lack instances that have not registered again yet: none is removed for this long."""


class SettledView:
    """Instances of one role, without the short gaps and outages of the registry.

    Args:
        confirm_s: An instance is removed after it was unhealthy for this long.
        settle_s: After an outage no instance is removed for this long.
    """

    def __init__(self, confirm_s: float = CONFIRM_S, settle_s: float = OUTAGE_SETTLE_S) -> None:
        self._confirm_s = confirm_s
        self._settle_s = settle_s
        self._shown: dict[str, Instance] = {}
        self._missing_since_s: dict[str, float] = {}
        self._stale = False
        self._settled_at_s: float | None = None

    @property
    def instances(self) -> Mapping[str, Instance]:
        """The instances that count as present, by id."""
        return self._shown

    @property
    def stale(self) -> bool:
        """Whether the registry is unreachable, so that this is its last known state."""
        return self._stale

    @property
    def unsettled(self) -> bool:
        """Whether a loss awaits confirmation: `observe` must be called again soon, even with the same answer."""
        return bool(self._missing_since_s)

    def mark_stale(self) -> None:
        """Records that the registry does not answer."""
        self._stale = True

    def observe(
        self, healthy: Mapping[str, Instance], unhealthy: Mapping[str, Instance], now_s: float
    ) -> None:
        """Records an answer of the registry.

        Args:
            healthy: Instances whose checks pass, by id.
            unhealthy: Instances whose checks fail. An instance in neither has deregistered.
            now_s: The time of the answer.
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
