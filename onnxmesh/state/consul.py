"""Deployments in Consul's key-value store, for highly available schedulers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, unquote

import structlog

from onnxmesh.consul.agent import ConsulAgent, retry_unavailable
from onnxmesh.consul.blocking_query import BlockingQuery
from onnxmesh.errors import CorruptData, NotFound
from onnxmesh.ids import ModelName, Version
from onnxmesh.latest import Latest
from onnxmesh.state.base import Deployment
from onnxmesh.state.change_queue import ChangeQueue
from onnxmesh.state.consul_records import ConsulRecords, RecordHead
from onnxmesh.state.fenced_keys import FencedKeys
from onnxmesh.state.record import to_record
from onnxmesh.state.traffic_split import TrafficSplit

CHANGE_TIMEOUT_S = 15.0
"""Time-out of a change or read while Consul is unavailable."""

_SPLIT = "/split"
"""Suffix of the key of a model's traffic split; keys of deployments end with their version."""

_log = structlog.get_logger(__name__)


class ConsulDeployments:
    """The `DeploymentStore` of schedulers that share a Consul; made by `open_consul_deployments`.

    A deployment's key holds the digest of its record, which is stored in chunks under that digest: a record is added,
    replaced and removed in one step, whatever its size. A traffic split is small: it is the value of its key. Changes
    are made one after the other, in the order of the calls, also when a caller is cancelled, and only under the
    leader's lock.

    A marker key, which the first change writes, distinguishes a Consul that has lost its state from one without
    deployments: while it is missing, schedulers that have seen it keep their last state, and the leader restores it.

    Args:
        agent: The Consul agent.
        fence: See `FencedKeys`; None for a store with a single writer.
    """

    def __init__(self, agent: ConsulAgent, fence: Callable[[], str] | None = None) -> None:
        self._agent = agent
        self._keys = FencedKeys(agent, fence)
        self._heads = f"{agent.access.prefix}/deployments/"
        self._marker = ""
        self._records = ConsulRecords(agent)
        self._changes = ChangeQueue()
        self._latest: Latest[list[Deployment]] = Latest([])
        self._splits: dict[str, bytes] = {}

    async def save(self, deployment: Deployment) -> None:
        """Stores a deployment, in place of one of the same name and version.

        Raises:
            Conflict: Another scheduler leads, or wrote it at the same time (ALREADY_EXISTS).
            Unavailable: Consul stays unavailable (UNAVAILABLE).
        """
        record = to_record(deployment)
        key = self._head_key(deployment.name, deployment.version)
        await self._changes.submit(
            lambda: retry_unavailable(lambda: self._save(key, record), CHANGE_TIMEOUT_S)
        )

    async def delete(self, name: ModelName, version: Version) -> None:
        """Deletes a deployment; a missing one is no error.

        Raises:
            Conflict: Another scheduler leads, or wrote it at the same time (ALREADY_EXISTS).
            Unavailable: Consul stays unavailable (UNAVAILABLE).
        """
        key = self._head_key(name, version)
        await self._changes.submit(lambda: retry_unavailable(lambda: self._delete(key), CHANGE_TIMEOUT_S))

    async def all(self) -> list[Deployment]:
        """Returns every deployment, by name and version.

        Raises:
            CorruptData: One cannot be read (DATA_LOSS).
            Unavailable: Consul stays unavailable (UNAVAILABLE).
        """
        return await retry_unavailable(self._all, CHANGE_TIMEOUT_S)

    async def after(self, revision: int) -> tuple[int, list[Deployment]]:
        """Waits for a revision greater than `revision` (0: any).

        Returns:
            That revision and its deployments, by name and version. An unreadable one is returned in its last readable
            form, or left out if there is none.
        """
        return await self._latest.after(max(1, revision))

    async def save_split(self, split: TrafficSplit) -> None:
        """Stores a traffic split, in place of the model's previous one.

        Raises:
            Conflict: Another scheduler leads, or wrote it at the same time (ALREADY_EXISTS).
            Unavailable: Consul stays unavailable (UNAVAILABLE).
        """
        key, value = self._split_key(split.name), split.to_json().encode()
        await self._changes.submit(
            lambda: retry_unavailable(lambda: self._save_split(key, value), CHANGE_TIMEOUT_S)
        )

    async def delete_split(self, name: ModelName) -> None:
        """Deletes a model's traffic split; a missing one is no error.

        Raises:
            Conflict: Another scheduler leads, or wrote it at the same time (ALREADY_EXISTS).
            Unavailable: Consul stays unavailable (UNAVAILABLE).
        """
        key = self._split_key(name)
        await self._changes.submit(
            lambda: retry_unavailable(lambda: self._delete_split(key), CHANGE_TIMEOUT_S)
        )

    async def splits(self) -> list[TrafficSplit]:
        """Returns every traffic split, by name.

        Raises:
            CorruptData: One cannot be read (DATA_LOSS).
            Unavailable: Consul stays unavailable (UNAVAILABLE).
        """
        held = await retry_unavailable(self._everything, CHANGE_TIMEOUT_S)
        found = self._splits if self._is_lost(held) else self._splits_in(held)
        return [TrafficSplit.from_json(self._model_of(key), found[key]) for key in sorted(found)]

    async def sweep(self) -> None:
        """Removes records that no deployment refers to, which a scheduler that died during a change may have left.

        Raises:
            MeshError: Consul is unavailable, or another scheduler leads.
        """
        await self._changes.submit(self._sweep)

    async def run(self) -> None:
        """Makes changes and follows those of other schedulers, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._changes.run())
            group.create_task(self._follow())

    async def _save(self, key: str, record: bytes) -> None:
        await self._write_marker()
        await self._put(key, record)

    async def _put(self, key: str, record: bytes) -> None:
        index, before = await self._head(key)
        head = RecordHead.of(record)
        if before == head:  # also after an earlier attempt whose success was not reported
            return
        await self._records.write(head, record)
        await self._keys.write(key, head.to_json(), index)
        if before is not None:
            await self._records.remove(before.digest)

    async def _delete(self, key: str) -> None:
        index, before = await self._head(key)
        if before is None:
            return
        await self._keys.delete(key, index)
        await self._records.remove(before.digest)

    async def _save_split(self, key: str, value: bytes) -> None:
        await self._write_marker()
        await self._put_value(key, value)

    async def _put_value(self, key: str, value: bytes) -> None:
        index, before = await self._keys.read(key)
        if before != value:
            await self._keys.write(key, value, index)

    async def _delete_split(self, key: str) -> None:
        index, before = await self._keys.read(key)
        if before is not None:
            await self._keys.delete(key, index)

    async def _head(self, key: str) -> tuple[int, RecordHead | None]:
        """Returns the modify index and head of a deployment; 0 and None if there is none."""
        index, value = await self._keys.read(key)
        return index, None if value is None else RecordHead.from_json(value)

    async def _all(self) -> list[Deployment]:
        held = await self._everything()
        if self._is_lost(held):
            if self._keys.may_write:
                self._restore()
            return self._latest.value
        heads = [RecordHead.from_json(value) for key, value in held.items() if self._is_head(key)]
        return _in_order([await self._records.read(head) for head in heads])

    async def _everything(self) -> dict[str, bytes | None]:
        """Returns the keys and values of all deployments and splits, and of the marker."""
        return _values(
            await self._agent.call(
                lambda client: client.kv.get(self._heads, recurse=True, consistency="consistent")
            )
        )

    async def _follow(self) -> None:
        query = BlockingQuery(
            self._agent,
            lambda client, index, wait: client.kv.get(self._heads, recurse=True, index=index, wait=wait),
        )

        async def next_list() -> list[Deployment]:
            held = _values((0, await query.next()))
            if self._is_lost(held):
                return self._latest.value
            found, digests = [], set()
            before = {self._head_key(each.name, each.version): each for each in self._latest.value}
            for key, value in held.items():
                if key == self._heads:
                    self._marker = (value or b"").decode(errors="replace")
                if not self._is_head(key):
                    continue
                try:
                    head = RecordHead.from_json(value)
                    digests.add(head.digest)
                    found.append(await self._records.read(head))
                except (CorruptData, NotFound) as error:
                    # Replaced a moment ago, which the next answer shows, or damaged.
                    _log.error("deployment_unreadable", key=key, error=error.message)
                    if key in before:
                        found.append(before[key])
            self._records.evict_others(digests)
            self._splits = self._splits_in(held)
            return _in_order(found)

        while True:
            deployments = await retry_unavailable(next_list)
            if self._latest.revision == 1 or deployments != self._latest.value:
                self._latest.set(deployments)

    def _is_lost(self, held: Collection[str]) -> bool:
        """Whether Consul has lost the state that it had."""
        lost = bool(self._marker) and self._heads not in held
        if lost:
            _log.error("consul_state_lost", num_deployments=len(self._latest.value))
        return lost

    def _restore(self) -> None:
        """Writes everything that this scheduler knows again, before any other change."""
        records = {self._head_key(each.name, each.version): to_record(each) for each in self._latest.value}
        splits = dict(self._splits)

        async def put_all() -> None:
            for key, record in records.items():
                await self._put(key, record)
            for key, split in splits.items():
                await self._put_value(key, split)
            # Last: until it exists, no scheduler takes missing deployments for deleted ones.
            await self._write_marker()

        self._changes.submit_nowait(lambda: retry_unavailable(put_all, CHANGE_TIMEOUT_S))

    async def _write_marker(self) -> None:
        """Writes the marker, if it is missing."""
        marker = self._marker or uuid.uuid4().hex
        await self._agent.call(lambda client: client.kv.put(self._heads, marker, cas=0))
        _, held = await self._agent.call(lambda client: client.kv.get(self._heads, consistency="consistent"))
        self._marker = "" if held is None else (held["Value"] or b"").decode(errors="replace")

    async def _sweep(self) -> None:
        held = await self._everything()
        if self._is_lost(held):
            return
        await self._records.remove_others(
            {RecordHead.from_json(value).digest for key, value in held.items() if self._is_head(key)}
        )

    def _splits_in(self, held: Mapping[str, bytes | None]) -> dict[str, bytes]:
        return {key: value or b"" for key, value in held.items() if key.endswith(_SPLIT)}

    def _is_head(self, key: str) -> bool:
        return key != self._heads and not key.endswith(_SPLIT)

    def _split_key(self, name: ModelName) -> str:
        return f"{self._heads}{quote(name, safe='')}{_SPLIT}"

    def _model_of(self, split_key: str) -> ModelName:
        return ModelName(unquote(split_key.removeprefix(self._heads).removesuffix(_SPLIT)))

    def _head_key(self, name: ModelName, version: Version) -> str:
        return f"{self._heads}{quote(name, safe='')}/{version}"


@asynccontextmanager
async def open_consul_deployments(
    agent: ConsulAgent, fence: Callable[[], str] | None = None
) -> AsyncIterator[ConsulDeployments]:
    """Runs a `ConsulDeployments` for the duration of the context; changes that wait at its end fail.

    Args:
        agent: The Consul agent.
        fence: See `ConsulDeployments`.
    """
    store = ConsulDeployments(agent, fence)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(store.run())
        try:
            yield store
        finally:
            running.cancel()


def _values(answer: tuple[Any, list[dict[str, Any]] | None]) -> dict[str, bytes | None]:
    return {each["Key"]: each["Value"] for each in answer[1] or ()}


def _in_order(deployments: list[Deployment]) -> list[Deployment]:
    return sorted(deployments, key=lambda each: (each.name, each.version))
