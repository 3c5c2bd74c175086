"""Which registrations stand: pure, with the time given by the caller."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import Conflict


@dataclass(slots=True)
class _Lease:
    instance: Instance
    token: int
    heard_s: float


class Membership:
    """Leases by id: the newest generation holds it, silence ends it.

    Args:
        silence_s: A lease that is not heard of for longer ends.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._leases: dict[str, _Lease] = {}
        self._tokens = 0
        self._looked_s: float | None = None
        self._woke_s = -math.inf

    @property
    def instances(self) -> dict[str, Instance]:
        """Everyone who has a lease, by id, in order of id."""
        return {id_: self._leases[id_].instance for id_ in sorted(self._leases)}

    def join(self, instance: Instance, now_s: float) -> int:
        """Gives a lease, which replaces that of an older or the same generation.

        Returns:
            The token by which to refer to it.

        Raises:
            Conflict: A newer generation has the id (ALREADY_EXISTS).
        """
        held = self._leases.get(instance.id)
        if held is not None and held.instance.generation > instance.generation:
            raise Conflict(
                f"{instance.role} '{instance.id}' of generation {instance.generation} is out of date: "
                f"generation {held.instance.generation} at {held.instance.address} is registered"
            )
        self._tokens += 1
        self._leases[instance.id] = _Lease(instance, self._tokens, now_s)
        return self._tokens

    def describe(self, token: int, instance: Instance) -> None:
        """Describes the holder of a lease anew, if it still stands and it is the same process."""
        lease = self._leases.get(instance.id)
        if lease is None or lease.token != token:
            return
        held = lease.instance
        if (held.address, held.generation) == (instance.address, instance.generation):
            lease.instance = instance

    def heard(self, id_: str, token: int, now_s: float) -> bool:
        """Prolongs a lease; returns whether it still stands."""
        lease = self._leases.get(id_)
        if lease is None or lease.token != token:
            return False
        lease.heard_s = now_s
        return True

    def leave(self, id_: str, token: int, now_s: float) -> bool:
        """Ends a lease; returns whether it still stood. A lease that was replaced ends nothing.

        One that is given up right after this process itself stood still stands on, until it is silent for too long:
        whoever waited in vain for an answer gives up, and dials again.
        """
        lease = self._leases.get(id_)
        if lease is None or lease.token != token:
            return False
        self._notice_standstill(now_s)
        if now_s - self._woke_s < self._silence_s / 2:
            return False
        del self._leases[id_]
        return True

    def expire(self, now_s: float) -> list[Instance]:
        """Ends the leases that were silent for too long and returns whose they were; call it often.

        Time in which this process itself stood still (it was stopped, its machine slept) does not count as
        silence of the others: what they said meanwhile is still to be read.
        """
        self._notice_standstill(now_s)
        self._looked_s = now_s
        silent = [
            lease.instance for lease in self._leases.values() if now_s - lease.heard_s > self._silence_s
        ]
        for instance in silent:
            del self._leases[instance.id]
        return silent

    def _notice_standstill(self, now_s: float) -> None:
        if self._looked_s is None or now_s - self._looked_s <= self._silence_s / 2:
            return
        for lease in self._leases.values():
            lease.heard_s = min(now_s, lease.heard_s + now_s - self._looked_s)
        self._looked_s = self._woke_s = now_s
