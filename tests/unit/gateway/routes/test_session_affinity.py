"""Requests of one session go where the last one went: without sockets."""

from __future__ import annotations

import asyncio

from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.routing.route_query import UNCONSTRAINED
from services.gateway.routes.session_affinity import SessionAffinity
from tests.unit.gateway.dispatch_bench import Bench

WORKERS = "abcdefgh"


async def served(bench, session, stages=1):
    """Has one request of a session answered; returns the workers that it ran on."""
    async with bench.inferring(session=session) as request:
        for _ in range(20):
            await asyncio.sleep(0)
        sent = [frame.header.activation for link in bench.links.streams.values() for frame in link.sent]
        newest = max(sent, key=lambda each: (each.key.number, each.key.attempt))
        route = [hop.worker for hop in newest.route.hops]
        bench.answer(route[-1], newest)
        await request
    assert len(route) == stages
    return route


async def test_session_keeps_its_workers():
    """On every stage, however busy that gets; others go anywhere."""
    bench = Bench(*WORKERS)
    bench.routes(WORKERS, WORKERS)
    first = await served(bench, "s", 2)
    assert [await served(bench, "s", 2) for _ in range(30)] == [first] * 30
    bench.report_load(first[0], 1000)
    assert await served(bench, "s", 2) == first
    assert len({tuple(await served(bench, f"s{each}", 2)) for each in range(30)}) > 5


async def test_session_moves_where_its_worker_is_lost_and_stays_there():
    """And does not come back with the worker."""
    bench = Bench(*WORKERS)
    bench.routes(WORKERS)
    (first,) = await served(bench, "s")
    bench.lose(first)
    (second,) = await served(bench, "s")
    assert second != first
    bench.links.streams[first].is_open = True
    assert [await served(bench, "s") for _ in range(10)] == [[second]] * 10


async def test_session_leaves_an_ejected_worker():
    """Like any other request."""
    bench = Bench(*WORKERS)
    bench.routes(WORKERS)
    (first,) = await served(bench, "s")
    for _ in range(5):
        bench.router.balancer.observe_failure(first, ["m/1/0"], bench.clock())
    assert await served(bench, "s") != [first]


async def test_session_expires():
    """Then it may go anywhere again."""
    bench = Bench(*WORKERS)
    bench.routes(WORKERS)
    await served(bench, "s")
    model = bench.router.table.find("m", "")
    assert await bench.router.sessions.workers(model, "s")
    bench.clock.now_s += 601
    assert not await bench.router.sessions.workers(model, "s")


async def test_explain_names_the_session():
    """By the same decision as a request's."""
    bench = Bench(*WORKERS)
    bench.routes(WORKERS)
    (first,) = await served(bench, "s")
    model = bench.router.table.find("m", "")
    (found,) = await bench.router.explain(model, UNCONSTRAINED, session="s")
    assert found.outcome == f"'{first}': it has served this session"


async def test_session_affinity_ignores_the_format_of_another_release():
    """Such a session is routed like a new one."""
    live = EmbeddedLiveState("g")
    sessions = SessionAffinity(live)
    bench = Bench("a")
    bench.routes("a")
    model = bench.router.table.find("m", "")
    for place in ("w1", "[1]", '{"m/1/0": 7}'):
        live.set_session("m/1/s", place, 60.0)
        assert not await sessions.workers(model, "s")
