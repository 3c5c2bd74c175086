"""Keys in Consul that only the leader writes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from onnxmesh.consul.agent import ConsulAgent
from onnxmesh.errors import Conflict, Unavailable
from onnxmesh.leadership.consul import lock_key


class FencedKeys:
    """Reads keys, and replaces them in one step with seeing that this scheduler holds the leader's lock.

    Args:
        agent: The Consul agent to ask.
        fence: Returns the session that holds the leader's lock, empty if this scheduler does not lead; None
            for keys that nobody else writes to.
    """

    def __init__(self, agent: ConsulAgent, fence: Callable[[], str] | None) -> None:
        self._agent = agent
        self._fence = fence
        self._lock_key = lock_key(agent.access.prefix)

    @property
    def may_write(self) -> bool:
        """Whether this scheduler leads, as far as it knows."""
        return self._fence is None or bool(self._fence())

    async def read(self, key: str) -> tuple[int, bytes | None]:
        """Returns what a key holds and the index to replace it by; 0 and None if it is not there."""
        _, held = await self._agent.ask(lambda client: client.kv.get(key, consistency="consistent"))
        return (0, None) if held is None else (held["ModifyIndex"], held["Value"] or b"")

    async def write(self, key: str, value: bytes, index: int) -> None:
        """Has a key hold `value`, if nobody wrote it since it was read with `index`.

        Raises:
            Conflict: Another scheduler leads, or wrote it (ALREADY_EXISTS).
            Unavailable: Consul could not do it (UNAVAILABLE).
        """
        encoded = base64.b64encode(value).decode()
        await self._transact({"Verb": "cas", "Key": key, "Value": encoded, "Index": index})

    async def delete(self, key: str, index: int) -> None:
        """Removes a key, if nobody wrote it since it was read with `index`.

        Raises:
            Conflict: Another scheduler leads, or wrote it (ALREADY_EXISTS).
            Unavailable: Consul could not do it (UNAVAILABLE).
        """
        await self._transact({"Verb": "delete-cas", "Key": key, "Index": index})

    async def _transact(self, change: dict[str, Any]) -> None:
        operations = [{"KV": change}]
        if self._fence is not None:
            session = self._fence()
            if not session:
                raise Conflict("this scheduler does not lead: another one makes changes")
            operations.insert(0, {"KV": {"Verb": "check-session", "Key": self._lock_key, "Session": session}})
        datacenter = self._agent.access.datacenter
        params = [("dc", datacenter)] if datacenter else []
        await self._agent.ask(
            lambda client: client.http.put(_done, "/v1/txn", params=params, data=json.dumps(operations))
        )


def _done(response: Any) -> None:
    """Reads a transaction's answer.

    Raises:
        Conflict: It was rolled back (ALREADY_EXISTS).
        Unavailable: Consul could not carry it out (UNAVAILABLE).
    """
    if response.code == 409:
        raise Conflict(f"Consul refused the change: {_reasons(response.body)}")
    if response.code != 200:
        raise Unavailable(f"Consul could not make the change: {response.code} {response.body}")


def _reasons(body: str) -> str:
    try:
        return "; ".join(each["What"] for each in json.loads(body)["Errors"])
    except (ValueError, KeyError, TypeError):
        return body
