"""Lost and suspected streams, and route tables, while requests are in flight: without sockets."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.errors import (
    Unavailable,
)
from onnxmesh.routing.table.table import EMPTY_TABLE
from services.gateway.dispatch import dispatcher
from tests.eventually import eventually
from tests.fakes.fake_worker_links import FakeWorkerLink
from tests.unit.gateway.dispatch_bench import Bench


async def test_on_lost_moves_the_request_to_another_replica():
    """Same number, next attempt; the answer of the first route, should it still come, is dropped."""
    bench = Bench("a", "b", "c")
    bench.routes("a", "b")
    async with bench.inferring() as request:
        first = await bench.activation("a")
        bench.routes("a", "bc")
        bench.lose("b")
        second = await bench.activation("a", 1)
        assert (second.key.number, second.key.attempt) == (1, 1)
        assert second.route.hops[1].worker == "c"
        assert bench.links.streams["a"].cancelled == [(1, 0)]
        bench.answer("b", first, payload=b"old!")
        await asyncio.sleep(0)
        assert not request.done()
        bench.answer("c", second, payload=b"new!")
        answer = await request
    assert answer.tensors[0].data == b"new!"
    assert answer.trace.attempts == 2


async def test_on_suspicion_moves_the_request_to_another_replica():
    """Long before it is lost; the suspected worker may serve a later attempt."""
    bench = Bench("a", "b")
    bench.routes("ab")
    bench.suspect("b")
    async with bench.inferring() as request:
        await bench.activation("a")
        bench.suspect("b", suspected=False)
        bench.suspect("a")
        second = await bench.activation("b")
        assert (second.key.number, second.key.attempt) == (1, 1)
        assert bench.links.streams["a"].cancelled == [(1, 0)]
        bench.suspect("a", suspected=False)
        bench.lose("b")
        third = await bench.activation("a", 1)
        bench.answer("a", third)
        assert (await request).trace.attempts == 3


async def test_on_suspicion_keeps_waiting_where_there_is_no_other_replica():
    """No other worker has the stage, or it is the last attempt of the request."""
    for workers, max_attempts in (("a", 3), ("ab", 1)):
        bench = Bench("a", "b", max_attempts=max_attempts)
        bench.routes(workers)
        bench.suspect("b")
        async with bench.inferring() as request:
            sent = await bench.activation("a")
            bench.suspect("b", suspected=False)
            bench.suspect("a")
            await asyncio.sleep(0)
            bench.answer("a", sent)
            assert (await request).trace.attempts == 1


async def test_on_lost_of_an_older_stream_fails_no_attempt():
    """Only attempts that rely on the stream that ended fail."""
    bench = Bench("a")
    bench.routes("a")
    older = bench.links.streams["a"]
    bench.links.streams["a"] = FakeWorkerLink("a")
    async with bench.inferring() as request:
        sent = await bench.activation("a")
        bench.dispatcher.on_lost("a", older)
        await asyncio.sleep(0)
        bench.answer("a", sent)
        assert (await request).trace.attempts == 1


async def test_dispatcher_dials_a_worker_without_a_stream():
    """A request that comes right after the table does not fail for that."""
    bench = Bench("a")
    bench.links.reachable = {"c"}
    bench.routes("a", "bc")
    async with bench.inferring() as request:
        sent = await bench.activation("a")
        assert sent.route.hops[1].worker == "c"
        bench.answer("c", sent)
        await request
    assert ("c", "c:1") in bench.links.dialled


async def test_dispatcher_names_the_workers_that_cannot_be_reached():
    """Each is named with what dialling it came to."""
    bench = Bench()
    bench.routes("a")
    with pytest.raises(Unavailable) as caught:
        await bench.infer(bench.new_request())
    assert caught.value.message == (
        "model 'm' version 1: stage 0 has no live replica left: worker 'a': a at a:1 cannot be reached"
    )


async def test_dispatcher_retries_where_a_stream_closes_while_sending():
    """Another replica gets the request."""
    bench = Bench("a", "b")
    bench.routes("a")
    bench.links.streams["a"].broken = True
    with pytest.raises(Unavailable, match="worker 'a': the stream to a is closed"):
        await bench.infer(bench.new_request())
    bench.routes("ab")
    async with bench.inferring() as request:
        bench.answer("b", await bench.activation("b"))
        await request


async def test_update_fails_the_attempts_on_a_removed_worker():
    """The scheduler may see a death before the stream does."""
    bench = Bench("a", "b")
    bench.routes("ab")
    async with bench.inferring() as request:
        await eventually(lambda: bench.dispatcher.num_in_flight)
        (worker,) = [name for name in "ab" if bench.links.streams[name].sent]
        other = {"a": "b", "b": "a"}[worker]
        bench.routes(other)
        bench.answer(other, await bench.activation(other))
        assert (await request).trace.attempts == 2


async def test_update_keeps_the_stream_to_a_draining_worker():
    """It gets nothing new; once the table does not have it any more, its attempts fail over."""
    bench = Bench("a", "b")
    bench.routes(["a"])
    async with bench.inferring() as first, bench.inferring() as second:
        one, two = await bench.activation("a"), await bench.activation("a", 1)
        bench.routes(["b"], leaving=["a"])
        assert bench.links.kept == {"a": "a:1", "b": "b:1"}
        async with bench.inferring() as third:
            bench.answer("b", await bench.activation("b"))
            bench.answer("a", one)
            assert [(await each).trace.attempts for each in (first, third)] == [1, 1]
            bench.routes(["b"])
            assert bench.links.kept == {"b": "b:1"}
            bench.answer("b", await bench.activation("b", 1))
            assert (await second).trace.attempts == 2
        assert two.key.attempt == 0


async def test_update_dials_no_draining_worker():
    """A new gateway does not have its address, and has sent it nothing."""
    bench = Bench("b")
    bench.routes(["b"], leaving=["a"])
    assert bench.links.kept == {"b": "b:1"}


async def test_dispatcher_waits_for_the_next_table_where_a_stage_has_moved():
    """Its old worker may be the only one for another stage; tables that come meanwhile count as no attempt."""
    bench = Bench("a", "b", max_attempts=1)
    bench.routes(["a"], ["a"])
    async with bench.inferring() as request:
        for index in range(3):
            bench.refuse("a", await bench.activation("a", index), "STAGE_GONE", retriable=True)
            await asyncio.sleep(0)
            bench.routes(["a"], ["a"] if index < 2 else ["b"])
        activation = await bench.activation("a", 3)
        assert [hop.worker for hop in activation.route.hops] == ["a", "b"]
        bench.answer("b", activation)
        assert (await request).trace.attempts == 4


async def test_dispatcher_fails_where_no_newer_table_has_the_stage(monkeypatch):
    """After `TABLE_WAIT_S`."""
    monkeypatch.setattr(dispatcher, "TABLE_WAIT_S", 0.01)
    bench = Bench("a")
    bench.routes(["a"])
    async with bench.inferring() as request:
        bench.refuse("a", await bench.activation("a"), "STAGE_GONE", retriable=True)
        with pytest.raises(Unavailable, match="no live replica left"):
            await request


async def test_update_closes_the_stream_to_a_restarted_worker():
    """The table's generation is newer than the stream's."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.inferring() as request:
        await bench.activation("a")
        old = bench.links.streams["a"]
        bench.routes("a", generation=2)
        assert not old.is_open
        with pytest.raises(Unavailable, match="worker 'a' was restarted"):
            await request


async def test_dispatcher_fails_where_the_model_is_undeployed_before_a_retry():
    """The next attempt finds no such model."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.inferring() as request:
        await bench.activation("a")
        bench.update(EMPTY_TABLE)
        with pytest.raises(Unavailable, match="model 'm' version 1 is no longer deployed: worker 'a'"):
            await request
