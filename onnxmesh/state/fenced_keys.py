"""Keys in Consul that only the leader can write, by a fencing token."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from onnxmesh.consul.agent import ConsulAgent
from onnxmesh.errors import Conflict, Unavailable
from onnxmesh.leadership.consul import lock_key


class FencedKeys:
    """Reads keys, and writes them in one transaction with a check that this scheduler holds the leader's lock.

    Args:
        agent: The Consul agent.
        fence: Returns the session that holds the leader's lock, empty if this scheduler does not lead; None
            for keys with a single writer.
    """

    def __init__(self, agent: ConsulAgent, fence: Callable[[], str] | None) -> None:
        self._agent = agent
        self._fence = fence
        self._lock_key = lock_key(agent.access.prefix)

    @property
    def may_write(self) -> bool:
        """Whether this scheduler leads, by its own last knowledge."""
        return self._fence is None or bool(self._fence())

    async def read(self, key: str) -> tuple[int, bytes | None]:
        """Returns the modify index and value of a key; 0 and None if it does not exist."""
        _, held = await self._agent.call(lambda client: client.kv.get(key, consistency="consistent"))
        return (0, None) if held is None else (held["ModifyIndex"], held["Value"] or b"")

    async def write(self, key: str, value: bytes, index: int) -> None:
        """Sets a key, if it was not written since it was read with `index`.

        Raises:
            Conflict: Another scheduler leads, or wrote it (ALREADY_EXISTS).
            Unavailable: Consul could not execute it (UNAVAILABLE).
        """
        encoded = base64.b64encode(value).decode()
        await self._transact({"Verb": "cas", "Key": key, "Value": encoded, "Index": index})

    async def delete(self, key: str, index: int) -> None:
        """Removes a key, if it was not written since it was read with `index`.

        Raises:
            Conflict: Another scheduler leads, or wrote it (ALREADY_EXISTS).
            Unavailable: Consul could not execute it (UNAVAILABLE).
        """
        await self._transact({"Verb": "delete-cas", "Key": key, "Index": index})

    async def _transact(self, change: dict[str, Any]) -> None:
        operations = [{"KV": change}]
        if self._fence is not None:
            session = self._fence()
            if not session:
                raise Conflict("this scheduler is not the leader, so it cannot make changes")
            operations.insert(0, {"KV": {"Verb": "check-session", "Key": self._lock_key, "Session": session}})
        datacenter = self._agent.access.datacenter
        params = [("dc", datacenter)] if datacenter else []
        await self._agent.call(
            lambda client: client.http.put(_check, "/v1/txn", params=params, data=json.dumps(operations))
        )


def _check(response: Any) -> None:
    """Checks the answer to a transaction.

    Raises:
        Conflict: It was rolled back (ALREADY_EXISTS).
        Unavailable: Consul could not execute it (UNAVAILABLE).
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
