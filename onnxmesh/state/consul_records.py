"""Records of deployments in Consul, in pieces under their digest."""

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
"""Most of a record that one key holds; Consul takes 512 KiB."""


@dataclass(frozen=True, slots=True)
class RecordHead:
    """Where a record is.

    Attributes:
        digest: SHA-256 of its content.
        num_chunks: In how many pieces it is.
    """

    digest: str
    num_chunks: int

    @classmethod
    def of(cls, record: bytes) -> RecordHead:
        """Returns where a record belongs."""
        return cls(hashlib.sha256(record).hexdigest(), -(-len(record) // CHUNK_BYTES))

    def to_json(self) -> bytes:
        """Returns what a deployment's key holds."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, value: bytes | None) -> RecordHead:
        """Reads what `to_json` wrote.

        Raises:
            CorruptData: It is something else (DATA_LOSS).
        """
        try:
            document = json.loads(value or b"")
            return cls(str(document["digest"]), int(document["num_chunks"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptData(f"a deployment's key holds {(value or b'')[:80]!r}") from error


class ConsulRecords:
    """Reads and writes records; one that was read is remembered for as long as it is wanted.

    Args:
        agent: The Consul agent to ask.
    """

    def __init__(self, agent: ConsulAgent) -> None:
        self._agent = agent
        self._prefix = f"{agent.access.prefix}/records/"
        self._read: dict[str, Deployment] = {}

    async def write(self, head: RecordHead, record: bytes) -> None:
        """Writes a record where `head` says."""
        for number in range(head.num_chunks):
            piece = record[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
            key = self._key(head, number)
            await self._agent.ask(lambda client, key=key, piece=piece: client.kv.put(key, piece))  # type: ignore[misc]

    async def read(self, head: RecordHead) -> Deployment:
        """Returns the deployment of a record; one that was read before is the same object.

        Raises:
            NotFound: It is not there (NOT_FOUND): it was replaced a moment ago.
            CorruptData: It is damaged (DATA_LOSS).
        """
        known = self._read.get(head.digest)
        if known is not None:
            return known
        pieces = []
        for number in range(head.num_chunks):
            key = self._key(head, number)
            _, held = await self._agent.ask(lambda client, key=key: client.kv.get(key))  # type: ignore[misc]
            if held is None:
                raise NotFound(f"piece {number} of record {head.digest} is not in Consul")
            pieces.append(held["Value"] or b"")
        record = b"".join(pieces)
        if RecordHead.of(record).digest != head.digest:
            raise CorruptData(f"record {head.digest} in Consul has another content")
        deployment = from_record(record)
        self._read[head.digest] = deployment
        return deployment

    async def remove(self, digest: str) -> None:
        """Removes a record, if it is there."""
        await self._agent.ask(lambda client: client.kv.delete(f"{self._prefix}{digest}/", recurse=True))

    async def remove_others(self, wanted: Collection[str]) -> None:
        """Removes every record but those of the digests that are wanted."""
        _, found = await self._agent.ask(lambda client: client.kv.get(self._prefix, keys=True, separator="/"))
        for key in found or ():
            digest = key.removeprefix(self._prefix).rstrip("/")
            if digest not in wanted:
                await self.remove(digest)

    def forget_others(self, wanted: Collection[str]) -> None:
        """Keeps in mind what is wanted alone."""
        self._read = {digest: each for digest, each in self._read.items() if digest in wanted}

    def _key(self, head: RecordHead, number: int) -> str:
        return f"{self._prefix}{head.digest}/{number:04}"
