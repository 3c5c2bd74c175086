"""Deployments in Consul's key-value store, for several schedulers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

import structlog

from onnxmesh.consul.agent import ConsulAgent, patiently
from onnxmesh.consul.follow import Follower
from onnxmesh.errors import Conflict, CorruptData, MeshError, NotFound, Unavailable
from onnxmesh.ids import ModelName, Version
from onnxmesh.latest import Latest
from onnxmesh.leadership.consul import lock_key
from onnxmesh.state.base import Deployment
from onnxmesh.state.record import from_record, to_record

CHUNK_BYTES = 256 * 1024
"""Most of a record that one key holds; Consul takes 512 KiB."""

PATIENCE_S = 15.0
"""How long a change waits for Consul to come back."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Head:
    """What a deployment's own key says: where its record is."""

    digest: str
    num_chunks: int

    @classmethod
    def from_json(cls, value: bytes) -> _Head:
        try:
            document = json.loads(value)
            return cls(str(document["digest"]), int(document["num_chunks"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptData(f"a deployment's key holds {value[:80]!r}") from error


class ConsulDeployments:
    """The `DeploymentStore` of schedulers that share a Consul; made by `open_consul_deployments`.

    A deployment's key holds the digest of its record, which is kept in pieces under that digest: a record
    appears, is replaced and goes in one step, whatever its size. Changes are made one after the other, in the
    order of the calls, also when a caller is cancelled, and only under the leader's lock.

    A Consul that has lost its state is told from one that nothing is deployed in by a mark, which the first change
    makes: while it is missing, those who have seen it go on with what they know, and the next leader writes it down.

    Args:
        agent: The Consul agent to ask.
        fence: Returns the session that holds the leader's lock, empty if this scheduler does not lead; None
            for a store that nobody else writes to.
    """

    def __init__(self, agent: ConsulAgent, fence: Callable[[], str] | None = None) -> None:
        self._agent = agent
        self._fence = fence
        self._lock_key = lock_key(agent.access.prefix)
        self._heads = f"{agent.access.prefix}/deployments/"
        self._mark = ""
        self._records = f"{agent.access.prefix}/records/"
        self._changes: asyncio.Queue[tuple[Callable[[], Awaitable[None]], asyncio.Future[None]]] = (
            asyncio.Queue()
        )
        self._read: dict[str, Deployment] = {}
        self._latest: Latest[list[Deployment]] = Latest([])

    async def save(self, deployment: Deployment) -> None:
        """Writes a deployment down, in place of one of the same name and version.

        Raises:
            Conflict: Another scheduler leads, or wrote it at the same time (ALREADY_EXISTS).
            Unavailable: Consul stays away (UNAVAILABLE).
        """
        record = to_record(deployment)
        key = self._head_key(deployment.name, deployment.version)
        await self._do(lambda: patiently(lambda: self._save(key, record), PATIENCE_S))

    async def delete(self, name: ModelName, version: Version) -> None:
        """Forgets a deployment; one that is not there is no error.

        Raises:
            Conflict: Another scheduler leads, or wrote it at the same time (ALREADY_EXISTS).
            Unavailable: Consul stays away (UNAVAILABLE).
        """
        key = self._head_key(name, version)
        await self._do(lambda: patiently(lambda: self._delete(key), PATIENCE_S))

    async def all(self) -> list[Deployment]:
        """Returns every deployment, by name and version.

        Raises:
            CorruptData: One cannot be read (DATA_LOSS).
            Unavailable: Consul stays away (UNAVAILABLE).
        """
        return await patiently(self._all, PATIENCE_S)

    async def after(self, revision: int) -> tuple[int, list[Deployment]]:
        """Waits for a revision greater than `revision` (0: for none that was seen).

        Returns:
            That revision, and every deployment then, by name and version. One that cannot be read is as it
            was before; one that never could be is left out.
        """
        return await self._latest.after(max(1, revision))

    async def sweep(self) -> None:
        """Removes records that no deployment refers to, as a scheduler leaves that dies over a change.

        Raises:
            MeshError: Consul is away, or another scheduler leads.
        """
        await self._do(self._sweep)

    async def run(self) -> None:
        """Makes changes and follows those of others, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._change())
            group.create_task(self._follow())

    async def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes.put_nowait((work, done))
        await done

    async def _change(self) -> None:
        try:
            while True:
                work, done = await self._changes.get()
                try:
                    await work()
                except MeshError as error:
                    if done.done():  # its caller was cancelled
                        _log.warning("change_failed", error=error.message)
                    else:
                        done.set_exception(error)
                else:
                    if not done.done():
                        done.set_result(None)
        finally:
            while not self._changes.empty():
                _, done = self._changes.get_nowait()
                if not done.done():
                    done.set_exception(Unavailable("the scheduler stops: the change was not made"))

    async def _save(self, key: str, record: bytes) -> None:
        digest = hashlib.sha256(record).hexdigest()
        pieces = [record[start : start + CHUNK_BYTES] for start in range(0, len(record), CHUNK_BYTES)]
        index, before = await self._head(key)
        head = _Head(digest, len(pieces))
        if before == head:  # also what an attempt before this one did without being told so
            return
        for number, piece in enumerate(pieces):
            chunk = self._chunk_key(digest, number)
            await self._agent.ask(lambda client, chunk=chunk, piece=piece: client.kv.put(chunk, piece))  # type: ignore[misc]
        await self._make_mark()
        value = base64.b64encode(json.dumps(asdict(head)).encode()).decode()
        await self._transact({"Verb": "cas", "Key": key, "Value": value, "Index": index})
        if before is not None:
            await self._remove_record(before.digest)

    async def _delete(self, key: str) -> None:
        index, before = await self._head(key)
        if before is None:
            return
        await self._transact({"Verb": "delete-cas", "Key": key, "Index": index})
        await self._remove_record(before.digest)

    async def _transact(self, change: dict[str, Any]) -> None:
        """Makes a change in one step with seeing that this scheduler holds the leader's lock."""
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

    async def _remove_record(self, digest: str) -> None:
        await self._agent.ask(lambda client: client.kv.delete(f"{self._records}{digest}/", recurse=True))

    async def _head(self, key: str) -> tuple[int, _Head | None]:
        """Returns a deployment's head and the index to replace it by; 0 and None if there is none."""
        _, held = await self._agent.ask(lambda client: client.kv.get(key, consistency="consistent"))
        if held is None:
            return 0, None
        return held["ModifyIndex"], _Head.from_json(held["Value"] or b"")

    async def _all(self) -> list[Deployment]:
        _, held = await self._agent.ask(
            lambda client: client.kv.get(self._heads, recurse=True, consistency="consistent")
        )
        if self._is_lost(held):
            if self._fence is None or self._fence():
                await self._write_again()
            return self._latest.value
        heads = [_Head.from_json(each["Value"] or b"") for each in held or () if each["Key"] != self._heads]
        return _in_order([await self._deployment(head) for head in heads])

    async def _follow(self) -> None:
        follower = Follower(
            self._agent,
            lambda client, index, wait: client.kv.get(self._heads, recurse=True, index=index, wait=wait),
        )

        async def next_list() -> list[Deployment]:
            found = []
            before = {self._head_key(each.name, each.version): each for each in self._latest.value}
            held = await follower.next()
            if self._is_lost(held):
                return self._latest.value
            for each in held or ():
                if each["Key"] == self._heads:
                    self._mark = (each["Value"] or b"").decode(errors="replace")
                    continue
                try:
                    found.append(await self._deployment(_Head.from_json(each["Value"] or b"")))
                except (CorruptData, NotFound) as error:
                    # Replaced a moment ago, which the next answer tells of, or damaged.
                    _log.error("deployment_unreadable", key=each["Key"], error=error.message)
                    if each["Key"] in before:
                        found.append(before[each["Key"]])
            return _in_order(found)

        while True:
            deployments = await patiently(next_list)
            if self._latest.revision == 1 or deployments != self._latest.value:
                self._latest.set(deployments)

    def _is_lost(self, held: list[dict[str, Any]] | None) -> bool:
        """Whether Consul has lost the state that it had."""
        lost = bool(self._mark) and not any(each["Key"] == self._heads for each in held or ())
        if lost:
            _log.error("consul_state_lost", num_deployments=len(self._latest.value))
        return lost

    async def _write_again(self) -> None:
        """Has everything that this scheduler knows of written down again, after what waits to be changed."""
        for deployment in self._latest.value:
            key = self._head_key(deployment.name, deployment.version)
            record = to_record(deployment)
            never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            never.cancel()  # nobody waits for it
            self._changes.put_nowait(
                (lambda key=key, record=record: patiently(lambda: self._save(key, record), PATIENCE_S), never)  # type: ignore[misc]
            )

    async def _make_mark(self) -> None:
        """Marks that something has been deployed here, if that is not marked."""
        mark = self._mark or uuid.uuid4().hex
        await self._agent.ask(lambda client: client.kv.put(self._heads, mark, cas=0))
        _, held = await self._agent.ask(lambda client: client.kv.get(self._heads, consistency="consistent"))
        self._mark = "" if held is None else (held["Value"] or b"").decode(errors="replace")

    async def _deployment(self, head: _Head) -> Deployment:
        """Returns the deployment of a head; one that was read before is the same object.

        Raises:
            NotFound: Its record is not there (NOT_FOUND): it was replaced a moment ago.
            CorruptData: Its record is damaged (DATA_LOSS).
        """
        known = self._read.get(head.digest)
        if known is not None:
            return known
        pieces = []
        for number in range(head.num_chunks):
            key = self._chunk_key(head.digest, number)
            _, held = await self._agent.ask(lambda client, key=key: client.kv.get(key))  # type: ignore[misc]
            if held is None:
                raise NotFound(f"piece {number} of record {head.digest} is not in Consul")
            pieces.append(held["Value"] or b"")
        record = b"".join(pieces)
        if hashlib.sha256(record).hexdigest() != head.digest:
            raise CorruptData(f"record {head.digest} in Consul has another content")
        deployment = from_record(record)
        self._read[head.digest] = deployment
        return deployment

    async def _sweep(self) -> None:
        _, heads = await self._agent.ask(
            lambda client: client.kv.get(self._heads, recurse=True, consistency="consistent")
        )
        wanted = {
            _Head.from_json(each["Value"] or b"").digest for each in heads or () if each["Key"] != self._heads
        }
        _, found = await self._agent.ask(
            lambda client: client.kv.get(self._records, keys=True, separator="/")
        )
        for key in found or ():
            digest = key.removeprefix(self._records).rstrip("/")
            if digest not in wanted:
                await self._remove_record(digest)
        self._read = {digest: each for digest, each in self._read.items() if digest in wanted}

    def _head_key(self, name: ModelName, version: Version) -> str:
        return f"{self._heads}{quote(name, safe='')}/{version}"

    def _chunk_key(self, digest: str, number: int) -> str:
        return f"{self._records}{digest}/{number:04}"


@asynccontextmanager
async def open_consul_deployments(
    agent: ConsulAgent, fence: Callable[[], str] | None = None
) -> AsyncIterator[ConsulDeployments]:
    """Runs a `ConsulDeployments` for the time of the context; what waits at its end is not done.

    Args:
        agent: The Consul agent to ask.
        fence: See `ConsulDeployments`.
    """
    store = ConsulDeployments(agent, fence)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(store.run())
        try:
            yield store
        finally:
            running.cancel()


def _in_order(deployments: list[Deployment]) -> list[Deployment]:
    return sorted(deployments, key=lambda each: (each.name, each.version))


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
