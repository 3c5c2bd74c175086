"""Records of deployments in Consul, in chunks under the digest of the record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass

from onnxmesh.consul.agent import ConsulAgent
from onnxmesh.errors import CorruptData, NotFound
from onnxmesh.state.base import Deployment
from onnxmesh.state.record import from_record

CHUNK_BYTES = 256 * 1024
"""Largest part of a record in one key; Consul accepts 512 KiB."""


@dataclass(frozen=True, slots=True)
class RecordHead:
    """Reference to a record.

    Attributes:
        digest: SHA-256 of its content.
        num_chunks: Number of its chunks.
    """

    digest: str
    num_chunks: int

    @classmethod
    def of(cls, record: bytes) -> RecordHead:
        """Returns the reference to a record."""
        return cls(hashlib.sha256(record).hexdigest(), -(-len(record) // CHUNK_BYTES))

    def to_json(self) -> bytes:
        """Returns the value of a deployment's key."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, value: bytes | None) -> RecordHead:
        """Reads what `to_json` wrote.

        Raises:
            CorruptData: The value is something else (DATA_LOSS).
        """
        try:
            document = json.loads(value or b"")
            return cls(str(document["digest"]), int(document["num_chunks"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptData(f"a deployment's key holds {(value or b'')[:80]!r}") from error


class ConsulRecords:
    """Reads and writes records, with a cache of those that are referenced.

    Args:
        agent: The Consul agent.
    """

    def __init__(self, agent: ConsulAgent) -> None:
        self._agent = agent
        self._prefix = f"{agent.access.prefix}/records/"
        self._cache: dict[str, Deployment] = {}

    async def write(self, head: RecordHead, record: bytes) -> None:
        """Writes a record under the digest of `head`."""
        for number in range(head.num_chunks):
            chunk = record[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
            key = self._key(head, number)
            await self._agent.call(lambda client, key=key, chunk=chunk: client.kv.put(key, chunk))  # type: ignore[misc]

    async def read(self, head: RecordHead) -> Deployment:
        """Returns the deployment of a record; a cached one is the same object.

        Raises:
            NotFound: The record is missing (NOT_FOUND): it was replaced a moment ago.
            CorruptData: The record is damaged (DATA_LOSS).
        """
        known = self._cache.get(head.digest)
        if known is not None:
            return known
        chunks = []
        for number in range(head.num_chunks):
            key = self._key(head, number)
            _, held = await self._agent.call(lambda client, key=key: client.kv.get(key))  # type: ignore[misc]
            if held is None:
                raise NotFound(f"chunk {number} of record {head.digest} is not in Consul")
            chunks.append(held["Value"] or b"")
        record = b"".join(chunks)
        if RecordHead.of(record).digest != head.digest:
            raise CorruptData(f"record {head.digest} in Consul has another content")
        deployment = from_record(record)
        self._cache[head.digest] = deployment
        return deployment

    async def remove(self, digest: str) -> None:
        """Removes a record, if present."""
        await self._agent.call(lambda client: client.kv.delete(f"{self._prefix}{digest}/", recurse=True))

    async def remove_others(self, referenced: Collection[str]) -> None:
        """Removes every record whose digest is not referenced."""
        _, found = await self._agent.call(
            lambda client: client.kv.get(self._prefix, keys=True, separator="/")
        )
        for key in found or ():
            digest = key.removeprefix(self._prefix).rstrip("/")
            if digest not in referenced:
                await self.remove(digest)

    def evict_others(self, referenced: Collection[str]) -> None:
        """Evicts every record from the cache whose digest is not referenced."""
        self._cache = {digest: each for digest, each in self._cache.items() if digest in referenced}

    def _key(self, head: RecordHead, number: int) -> str:
        return f"{self._prefix}{head.digest}/{number:04}"
