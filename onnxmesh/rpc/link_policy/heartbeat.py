"""When one side of a link should say something, and when the other one should have. Pure: the time is given."""

from __future__ import annotations

from math import inf

from onnxmesh.rpc.link_policy.link_limits import LinkLimits

IN_USE_S = 2.0
"""A link is in use for so long after the last request or answer went over it."""


class Heartbeat:
    """The signs of life on one link.

    Links in use are watched closely, so that requests do not wait for a peer that is gone. Of the others a process may have
    thousands: they say little.

    Args:
        limits: Times of the link.
        now_s: The time.
    """

    def __init__(self, limits: LinkLimits, now_s: float) -> None:
        self._limits = limits
        self._heard_s = now_s
        self._used_s = -inf
        self._stirred_s = -inf

    def interval_s(self, now_s: float) -> float:
        """Returns after how long an idle side says something."""
        in_use = now_s - self._used_s < IN_USE_S
        return self._limits.heartbeat_s if in_use else self._limits.idle_heartbeat_s

    def observe_use(self, now_s: float) -> bool:
        """Takes that a request or an answer went over the link; returns whether it was not in use before."""
        stirs = now_s - self._used_s >= IN_USE_S
        if stirs:
            self._stirred_s = now_s
        self._used_s = now_s
        return stirs

    def observe_message(self, now_s: float) -> None:
        """Takes that the peer said something."""
        self._heard_s = now_s

    def observe_stall(self, late_s: float, now_s: float) -> None:
        """Takes that this process stood still for a while: what the peer said meanwhile waits to be read."""
        self._heard_s = min(now_s, self._heard_s + late_s)

    def quiet_s(self, now_s: float) -> float:
        """Returns how long the peer has said nothing."""
        return now_s - self._heard_s

    def is_suspect(self, now_s: float) -> bool:
        """Whether the peer should have said something by now, and has not."""
        if now_s - self._used_s >= IN_USE_S:
            return self.quiet_s(now_s) > self._limits.idle_heartbeat_s + self._limits.suspect_after_s
        return now_s - max(self._heard_s, self._stirred_s) > self._limits.suspect_after_s

    def is_dead(self, now_s: float) -> bool:
        """Whether it has said nothing for so long that it is taken for dead."""
        return self.quiet_s(now_s) > self._limits.dead_after_s
