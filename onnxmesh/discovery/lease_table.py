"""Leases of registered processes. Pure: the time is given."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import Conflict


@dataclass(slots=True)
class _Lease:
    instance: Instance
    token: int
    renewed_s: float


class LeaseTable:
    """Leases by id: the newest generation holds the lease, and it expires without a heartbeat.

    Args:
        ttl_s: Time without a heartbeat after which a lease expires.
    """

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._leases: dict[str, _Lease] = {}
        self._tokens = 0
        self._checked_s: float | None = None
        self._resumed_s = -math.inf

    @property
    def instances(self) -> dict[str, Instance]:
        """Every process with a lease, by id, in order of id."""
        return {id_: self._leases[id_].instance for id_ in sorted(self._leases)}

    def grant(self, instance: Instance, now_s: float) -> int:
        """Grants a lease, which replaces one of an older or the same generation.

        Returns:
            The token that identifies the lease.

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

    def update(self, token: int, instance: Instance) -> None:
        """Replaces tags and attributes of the holder, if the lease is valid and the process is the same."""
        lease = self._leases.get(instance.id)
        if lease is None or lease.token != token:
            return
        held = lease.instance
        if (held.address, held.generation) == (instance.address, instance.generation):
            lease.instance = instance

    def renew(self, id_: str, token: int, now_s: float) -> bool:
        """Renews a lease; returns whether it is still valid."""
        lease = self._leases.get(id_)
        if lease is None or lease.token != token:
            return False
        lease.renewed_s = now_s
        return True

    def release(self, id_: str, token: int, now_s: float) -> bool:
        """Ends a lease; returns whether it was still valid. The token of a replaced lease has no effect.

        A lease that is released right after this process itself was suspended stays until it expires: its holder only
        gave up waiting for an answer and will dial again.
        """
        lease = self._leases.get(id_)
        if lease is None or lease.token != token:
            return False
        self._notice_suspension(now_s)
        if now_s - self._resumed_s < self._ttl_s / 2:
            return False
        del self._leases[id_]
        return True

    def expire(self, now_s: float) -> list[Instance]:
        """Ends the leases whose heartbeat is overdue and returns their holders; call it often.

        Time in which this process itself was suspended (stopped, or its machine asleep) does not count: heartbeats of
        that time are still to be read.
        """
        self._notice_suspension(now_s)
        self._checked_s = now_s
        expired = [lease.instance for lease in self._leases.values() if now_s - lease.renewed_s > self._ttl_s]
        for instance in expired:
            del self._leases[instance.id]
        return expired

    def _notice_suspension(self, now_s: float) -> None:
        if self._checked_s is None or now_s - self._checked_s <= self._ttl_s / 2:
            return
        for lease in self._leases.values():
            lease.renewed_s = min(now_s, lease.renewed_s + now_s - self._checked_s)
        self._checked_s = self._resumed_s = now_s
