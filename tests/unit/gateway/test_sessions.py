"""Requests of one session go where the last one went: without sockets."""

from __future__ import annotations

import asyncio

from onnxmesh.live.embedded import OwnLiveState
from onnxmesh.routing.route_query import UNCONSTRAINED
from services.gateway.routes.sessions import Sessions
from tests.unit.gateway.dispatcher_bench import Bench

WORKERS = "abcdefgh"


async def served(bench, session, stages=1):
    """Has one request of a session answered; returns the workers that it ran on."""
    async with bench.asking(session=session) as request:
        for _ in range(20):
            await asyncio.sleep(0)
        sent = [frame.header.activation for peer in bench.peers.streams.values() for frame in peer.sent]
        newest = max(sent, key=lambda each: (each.key.number, each.key.attempt))
        route = [hop.worker for hop in newest.route.hops]
        bench.answer(route[-1], newest)
        await request
    assert len(route) == stages
    return route


async def test_a_session_stays_where_it_is():
    """On every stage, however busy that gets; others go anywhere."""
    bench = Bench(*WORKERS)
    bench.routes(WORKERS, WORKERS)
    first = await served(bench, "s", 2)
    assert [await served(bench, "s", 2) for _ in range(30)] == [first] * 30
    bench.report_load(first[0], 1000)
    assert await served(bench, "s", 2) == first
    assert len({tuple(await served(bench, f"s{each}", 2)) for each in range(30)}) > 5


async def test_a_session_whose_worker_is_gone_moves_and_stays_there():
    """And does not come back with the worker."""
    bench = Bench(*WORKERS)
    bench.routes(WORKERS)
    (first,) = await served(bench, "s")
    bench.lose(first)
    (second,) = await served(bench, "s")
    assert second != first
    bench.peers.streams[first].is_open = True
    assert [await served(bench, "s") for _ in range(10)] == [[second]] * 10


async def test_an_ejected_worker_loses_its_sessions():
    """What keeps others away keeps them away too."""
    bench = Bench(*WORKERS)
    bench.routes(WORKERS)
    (first,) = await served(bench, "s")
    for _ in range(5):
        bench.router.balancer.observe_failure(first, ["m/1/0"], bench.clock())
    assert await served(bench, "s") != [first]


async def test_a_session_ends_with_its_time():
    """Then it may go anywhere again."""
    bench = Bench(*WORKERS)
    bench.routes(WORKERS)
    await served(bench, "s")
    model = bench.router.table.find("m", "")
    assert await bench.router.sessions.places(model, "s")
    bench.clock.now_s += 601
    assert not await bench.router.sessions.places(model, "s")


async def test_a_session_is_explained():
    """By the same decision as a request's."""
    bench = Bench(*WORKERS)
    bench.routes(WORKERS)
    (first,) = await served(bench, "s")
    model = bench.router.table.find("m", "")
    (found,) = await bench.router.explain(model, UNCONSTRAINED, session="s")
    assert found.outcome == f"'{first}': it has served this session"


async def test_what_another_release_remembers_is_nowhere():
    """Sessions then go anywhere, as new ones do."""
    live = OwnLiveState("g")
    sessions = Sessions(live)
    bench = Bench("a")
    bench.routes("a")
    model = bench.router.table.find("m", "")
    for place in ("w1", "[1]", '{"m/1/0": 7}'):
        live.remember("m/1/s", place, 60.0)
        assert not await sessions.places(model, "s")
