"""Records are stored in chunks, verified when read, and cached while referenced."""

from __future__ import annotations

import pytest

from onnxmesh.errors import CorruptData, NotFound
from onnxmesh.state.consul_records import CHUNK_BYTES, ConsulRecords, RecordHead
from onnxmesh.state.record import to_record
from tests.fakes.fake_consul_agent import FakeConsulAgent
from tests.fakes.stored_deployment import deployment, large


class Client:
    """A key-value store in memory."""

    def __init__(self):
        self.kv = self
        self.keys = {}

    def put(self, key, value):
        assert len(value) <= 512 * 1024
        self.keys[key] = value

    def get(self, key, keys=False, separator=""):
        if keys:
            return "1", sorted({key + each[len(key) :].split("/")[0] + "/" for each in self.keys}) or None
        return "1", {"Value": self.keys[key]} if key in self.keys else None

    def delete(self, prefix, recurse):
        self.keys = {key: value for key, value in self.keys.items() if not key.startswith(prefix)}


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def records(client):
    return ConsulRecords(FakeConsulAgent(client))


async def write(records, each):
    record = to_record(each)
    head = RecordHead.of(record)
    await records.write(head, record)
    return head


async def test_consul_records_store_a_large_record_in_chunks_and_read_it_whole(client, records):
    head = await write(records, large())
    assert head.num_chunks == len(client.keys) > 1
    assert max(map(len, client.keys.values())) == CHUNK_BYTES
    assert await ConsulRecords(FakeConsulAgent(client)).read(head) == large()


async def test_read_caches_until_the_record_is_evicted(client, records):
    head = await write(records, deployment())
    first = await records.read(head)
    assert await records.read(head) is first
    records.evict_others({head.digest})
    assert await records.read(head) is first
    records.evict_others(set())
    assert await records.read(head) is not first


async def test_read_refuses_missing_and_damaged_records(client, records):
    head = await write(records, deployment())
    (key,) = client.keys
    client.keys[key] = b"other"
    with pytest.raises(CorruptData, match=head.digest):
        await records.read(head)
    del client.keys[key]
    with pytest.raises(NotFound, match="chunk 0"):
        await records.read(head)


async def test_remove_others_keeps_referenced_records(client, records):
    kept, dropped = await write(records, deployment()), await write(records, deployment("n"))
    await records.remove_others({kept.digest})
    assert [kept.digest in key for key in client.keys] == [True]
    assert dropped.digest not in "".join(client.keys)


@pytest.mark.parametrize(
    "value", [None, b"", b"[]", b'{"digest": "d"}', b'{"digest": "d", "num_chunks": "x"}']
)
def test_record_head_refuses_other_values(value):
    head = RecordHead("d", 2)
    assert RecordHead.from_json(head.to_json()) == head
    with pytest.raises(CorruptData):
        RecordHead.from_json(value)
