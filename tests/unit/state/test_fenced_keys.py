"""Keys are written in one transaction with a check of the leader's lock."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import pytest

from onnxmesh.errors import Conflict, Unavailable
from onnxmesh.state.fenced_keys import FencedKeys
from tests.fakes.fake_consul_agent import FakeConsulAgent


class Client:
    """Answers transactions with a status, and keeps them."""

    def __init__(self, code=200, body=""):
        self.http = self.kv = self
        self.response = SimpleNamespace(code=code, body=body)
        self.transactions = []

    def put(self, check, path, *, params, data):
        self.transactions.append((path, params, json.loads(data)))
        return check(self.response)

    def get(self, key, consistency):
        return "9", None if key == "missing" else {"ModifyIndex": 4, "Value": None}


async def test_write_checks_the_fence_in_the_same_transaction():
    client = Client()
    await FencedKeys(FakeConsulAgent(client, datacenter="dc"), lambda: "session").write("k", b"value", 4)
    ((path, params, (check, write)),) = client.transactions
    assert (path, params) == ("/v1/txn", [["dc", "dc"]] if isinstance(params[0], list) else [("dc", "dc")])
    assert check["KV"] == {"Verb": "check-session", "Key": "onnxmesh/leader", "Session": "session"}
    value = base64.b64encode(b"value").decode()
    assert write["KV"] == {"Verb": "cas", "Key": "k", "Value": value, "Index": 4}


async def test_write_without_the_lock_is_refused_before_consul_is_called():
    client = Client()
    keys = FencedKeys(FakeConsulAgent(client), lambda: "")
    assert not keys.may_write
    with pytest.raises(Conflict, match="is not the leader"):
        await keys.delete("k", 4)
    assert client.transactions == []


async def test_keys_with_a_single_writer_have_no_fence():
    client = Client()
    keys = FencedKeys(FakeConsulAgent(client), None)
    assert keys.may_write
    await keys.delete("k", 4)
    assert client.transactions[0][2] == [{"KV": {"Verb": "delete-cas", "Key": "k", "Index": 4}}]


@pytest.mark.parametrize(
    ("code", "body", "kind", "text"),
    [
        (409, '{"Errors": [{"What": "stale"}]}', Conflict, "stale"),
        (409, "not JSON", Conflict, "not JSON"),
        (500, "no leader", Unavailable, "500 no leader"),
    ],
)
async def test_fenced_keys_raise_the_reason_of_a_failed_transaction(code, body, kind, text):
    keys = FencedKeys(FakeConsulAgent(Client(code, body)), None)
    with pytest.raises(kind, match=text):
        await keys.write("k", b"", 0)


async def test_read_returns_index_and_value():
    keys = FencedKeys(FakeConsulAgent(Client()), None)
    assert await keys.read("missing") == (0, None)
    assert await keys.read("empty") == (4, b"")
