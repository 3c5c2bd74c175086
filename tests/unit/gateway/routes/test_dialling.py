"""Dialling one of several workers."""

from __future__ import annotations

import asyncio

from onnxmesh.routing.table.routed_model import Replica
from services.gateway.routes.dialling import dial_any
from tests.fakes.fake_worker_links import FakeWorkerLinks


def replicas(workers):
    return [Replica(worker, f"{worker}:1", 1) for worker in workers]


async def test_dial_any_returns_the_refusals_where_no_worker_can_be_reached():
    """Each with its reason."""
    refusals = await dial_any(FakeWorkerLinks(), replicas("ab"))
    assert {worker: error.message for worker, error in refusals.items()} == {
        "a": "a at a:1 cannot be reached",
        "b": "b at b:1 cannot be reached",
    }


async def test_dial_any_does_not_wait_for_the_others_once_one_is_connected():
    """Their dials are cancelled; they are no refusals."""

    class Links(FakeWorkerLinks):
        async def connect(self, peer, address):
            if peer == "slow":
                await asyncio.Event().wait()
            return await super().connect(peer, address)

    links = Links()
    links.reachable = {"a"}
    assert await dial_any(links, replicas(["slow", "a"])) == {}
    assert links.get("a") is not None
