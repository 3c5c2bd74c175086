"""Gateways that share loads, links, ejections and sessions through a real Redis, over real sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar

import pytest

from onnxmesh.client import MeshClient
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.live.redis import RedisLiveState
from onnxmesh.v1.frame_pb2 import Failure, LinkMeasurement, Load
from onnxmesh.v1.mesh_pb2 import ExplainRequest
from services.gateway.settings import GatewaySettings
from tests.fakes.service_program import RedisProgram
from tests.integration.gateway.running_gateway import request_of, running_gateway

pytestmark = pytest.mark.services


class CountingLiveState(RedisLiveState):
    """Counts the session lookups that wait for Redis, by the name of the gateway."""

    num_waits: ClassVar = Counter()

    def __init__(self, url, own, **options):
        super().__init__(url, own, **options)
        self._writer = own.writer

    async def find_session(self, session):
        lookup = asyncio.ensure_future(super().find_session(session))
        await asyncio.sleep(0)
        self.num_waits[self._writer] += not lookup.done()
        return await lookup


class CountingSettings(GatewaySettings):
    """Settings of a gateway that counts its lookups."""

    def live_state(self, writer):
        return CountingLiveState(self.redis.get_secret_value(), EmbeddedLiveState(writer))


def asking(session):
    request = request_of()
    request.parameters["mesh.session"].string_param = session
    return request


@asynccontextmanager
async def two_gateways(redis, **settings):
    """Two gateways, each with a scheduler of its own; the table of both names the workers of the first."""
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(
                running_gateway(workers, id=name, redis=redis.url, max_attempts=1, **settings)
            )
            for name, workers in (("g1", "abc"), ("g2", ""))
        ]
        second.workers.update(first.workers)
        for each in (first, second):
            await each.publish(each.routed("abc"))
        yield first, second


async def verdicts(gateway, **request):
    async with MeshClient(gateway.address) as client:
        (stage,) = (await client.explain(ExplainRequest(name="m", **request))).stages
        return {each.worker: each for each in stage.replicas}


async def until(condition, timeout_s=300.0):
    """Returns once `await condition()` is true."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - it is another process that changes
            await asyncio.sleep(0.05)


@pytest.fixture
def redis(tmp_path):
    with RedisProgram(tmp_path / "redis") as running:
        yield running


async def test_ejection_is_adopted_by_the_other_gateway(redis):
    """Its reason names the gateway that decided it, and it ends with its time."""
    async with two_gateways(redis) as (first, second):
        bad = first.workers["a"]
        bad.failure = Failure(reason="UNAVAILABLE", message="broken", retriable=True)

        async def ejected_by_first():
            await asyncio.gather(*(first.infer(request_of()) for _ in range(10)), return_exceptions=True)
            return (await verdicts(first))["a"].rule == "ejected"

        async def ejected_by_second():
            return (await verdicts(second))["a"].rule == "ejected"

        await until(ejected_by_first)
        await until(ejected_by_second)
        assert (await verdicts(second))["a"].why.startswith("gateway 'g1' has ejected it; for ")
        before = len(bad.activations)
        for _ in range(30):
            await second.infer(request_of())
        assert len(bad.activations) == before
        bad.failure = None

        async def is_back():
            return not await ejected_by_second()

        await until(is_back)


async def test_session_goes_to_the_same_worker_from_the_other_gateway(redis):
    """Which has not served it before."""
    async with two_gateways(redis) as (first, second):
        sessions = [f"s{each}" for each in range(20)]
        for session in sessions:
            await first.infer(asking(session))
        served = {name: len(worker.activations) for name, worker in first.workers.items()}
        assert min(served.values()) > 0

        async def are_shared():
            found = [await verdicts(second, session=session) for session in sessions]
            picks = [next(name for name, each in of.items() if each.picked) for of in found]
            return {name: picks.count(name) for name in "abc"} == served

        await until(are_shared)
        for session in sessions:
            await second.infer(asking(session))
        assert {name: len(worker.activations) for name, worker in first.workers.items()} == {
            name: 2 * num for name, num in served.items()
        }


async def test_links_reported_to_one_gateway_reach_the_other(redis):
    """Before any worker has reported them to it."""
    async with two_gateways(redis) as (first, second):
        for each in (first, second):
            each.scheduler.publish(each.routed("a", "bc"))
        links = [
            LinkMeasurement(node="b", round_trip_us=80_000),
            LinkMeasurement(node="c", round_trip_us=400),
        ]

        async def shows_links():
            first.workers["a"].send_load(Load(expected_wait_us=0, links=links), {"g1"})
            async with MeshClient(second.address) as client:
                stages = (await client.explain(ExplainRequest(name="m"))).stages
            if len(stages) < 2:
                return False
            found = {each.worker: (each.transfer_measured, each.transfer_us) for each in stages[1].replicas}
            return found == {"b": (True, 40_000), "c": (True, 200)}

        await until(shows_links)


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_requests_do_not_wait_for_a_redis_that_is_unavailable(redis, fault):
    """Not even those of sessions that this gateway does not know, but for the first lookup."""
    async with two_gateways(redis, settings_type=CountingSettings) as (first, second):

        async def is_shared():
            await first.infer(asking("old"))
            found = await verdicts(second, session="old")
            (of_session,) = [name for name, worker in first.workers.items() if worker.activations]
            return found[of_session].picked

        await until(is_shared)
        redis.freeze() if fault == "frozen" else redis.kill()
        try:
            CountingLiveState.num_waits.clear()
            for each in range(100):
                for gateway in (first, second):
                    await gateway.infer(asking(f"new{each}"), timeout=5.0)
            # The first lookup may wait, and a second one where an exchange was ending when Redis became unavailable.
            assert all(num <= 2 for num in CountingLiveState.num_waits.values())
            assert set(CountingLiveState.num_waits) == {"g1", "g2"}
            picked = {name: len(worker.activations) for name, worker in first.workers.items()}
            for _ in range(10):
                await first.infer(asking("new1"))
            now = {name: len(worker.activations) for name, worker in first.workers.items()}
            assert sorted(now[name] - picked[name] for name in now) == [0, 0, 10]
        finally:
            if fault == "frozen":
                redis.thaw()
