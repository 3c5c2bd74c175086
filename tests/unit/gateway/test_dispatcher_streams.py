"""What streams and route tables do to requests under way: without sockets."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.errors import (
    Unavailable,
)
from onnxmesh.routing.table.table import EMPTY_TABLE
from services.gateway.dispatch import dispatcher
from tests.eventually import eventually
from tests.fakes.fake_peers import FakePeer
from tests.unit.gateway.dispatcher_bench import Bench


async def test_a_lost_stream_moves_the_request_to_another_replica():
    """Same number, next attempt; the answer of the first route, should it still come, is dropped."""
    bench = Bench("a", "b", "c")
    bench.routes("a", "b")
    async with bench.asking() as request:
        first = await bench.activation("a")
        bench.routes("a", "bc")
        bench.lose("b")
        second = await bench.activation("a", 1)
        assert (second.key.number, second.key.attempt) == (1, 1)
        assert second.route.hops[1].worker == "c"
        assert bench.peers.streams["a"].cancelled == [(1, 0)]
        bench.answer("b", first, payload=b"old!")
        await asyncio.sleep(0)
        assert not request.done()
        bench.answer("c", second, payload=b"new!")
        answer = await request
    assert answer.tensors[0].data == b"new!"
    assert answer.trace.attempts == 2


async def test_a_silent_stream_moves_the_request_to_another_replica():
    """Long before it is lost; the silent worker may serve a later attempt again, for it is merely suspect."""
    bench = Bench("a", "b")
    bench.routes("ab")
    bench.hush("b")
    async with bench.asking() as request:
        await bench.activation("a")
        bench.hush("b", silent=False)
        bench.hush("a")
        second = await bench.activation("b")
        assert (second.key.number, second.key.attempt) == (1, 1)
        assert bench.peers.streams["a"].cancelled == [(1, 0)]
        bench.hush("a", silent=False)
        bench.lose("b")
        third = await bench.activation("a", 1)
        bench.answer("a", third)
        assert (await request).trace.attempts == 3


async def test_a_silent_stream_is_waited_for_where_there_is_no_other():
    """Nobody else has the stage, or it is the request's last attempt: sending it again would be for nothing."""
    for workers, max_attempts in (("a", 3), ("ab", 1)):
        bench = Bench("a", "b", max_attempts=max_attempts)
        bench.routes(workers)
        bench.hush("b")
        async with bench.asking() as request:
            sent = await bench.activation("a")
            bench.hush("b", silent=False)
            bench.hush("a")
            await asyncio.sleep(0)
            bench.answer("a", sent)
            assert (await request).trace.attempts == 1


async def test_an_older_stream_to_the_same_worker_ends_unnoticed():
    """Only attempts that rely on the stream that ended fail."""
    bench = Bench("a")
    bench.routes("a")
    older = bench.peers.streams["a"]
    bench.peers.streams["a"] = FakePeer("a")
    async with bench.asking() as request:
        sent = await bench.activation("a")
        bench.dispatcher.on_lost("a", older)
        await asyncio.sleep(0)
        bench.answer("a", sent)
        assert (await request).trace.attempts == 1


async def test_a_worker_that_is_not_linked_yet_is_dialled():
    """A request that comes right after the table does not fail for that."""
    bench = Bench("a")
    bench.peers.reachable = {"c"}
    bench.routes("a", "bc")
    async with bench.asking() as request:
        sent = await bench.activation("a")
        assert sent.route.hops[1].worker == "c"
        bench.answer("c", sent)
        await request
    assert ("c", "c:1") in bench.peers.dialled


async def test_workers_that_cannot_be_reached():
    """Each is named with what dialling it came to."""
    bench = Bench()
    bench.routes("a")
    with pytest.raises(Unavailable) as caught:
        await bench.dispatcher.infer(bench.order())
    assert caught.value.message == (
        "model 'm' version 1: stage 0 has no live replica left: worker 'a': a at a:1 cannot be reached"
    )


async def test_a_stream_that_closes_while_sending():
    """Another replica gets the request."""
    bench = Bench("a", "b")
    bench.routes("a")
    bench.peers.streams["a"].broken = True
    with pytest.raises(Unavailable, match="worker 'a': the stream to a is closed"):
        await bench.dispatcher.infer(bench.order())
    bench.routes("ab")
    async with bench.asking() as request:
        bench.answer("b", await bench.activation("b"))
        await request


async def test_a_worker_that_leaves_the_table_fails_its_attempts():
    """The scheduler may see a death before the stream does."""
    bench = Bench("a", "b")
    bench.routes("ab")
    async with bench.asking() as request:
        await eventually(lambda: bench.dispatcher.num_in_flight)
        (worker,) = [name for name in "ab" if bench.peers.streams[name].sent]
        other = {"a": "b", "b": "a"}[worker]
        bench.routes(other)
        bench.answer(other, await bench.activation(other))
        assert (await request).trace.attempts == 2


async def test_a_worker_that_leaves_in_order_still_answers_what_it_was_sent():
    """It gets nothing new; once the table does not know it any more, what is left fails over."""
    bench = Bench("a", "b")
    bench.routes(["a"])
    async with bench.asking() as first, bench.asking() as second:
        one, two = await bench.activation("a"), await bench.activation("a", 1)
        bench.routes(["b"], leaving=["a"])
        assert bench.peers.kept == {"a": "a:1", "b": "b:1"}
        async with bench.asking() as third:
            bench.answer("b", await bench.activation("b"))
            bench.answer("a", one)
            assert [(await each).trace.attempts for each in (first, third)] == [1, 1]
            bench.routes(["b"])
            assert bench.peers.kept == {"b": "b:1"}
            bench.answer("b", await bench.activation("b", 1))
            assert (await second).trace.attempts == 2
        assert two.key.attempt == 0


async def test_a_worker_that_nobody_has_heard_of_leaves_nothing():
    """A gateway that comes late does not know where it is, and has sent it nothing."""
    bench = Bench("b")
    bench.routes(["b"], leaving=["a"])
    assert bench.peers.kept == {"b": "b:1"}


async def test_a_stage_that_has_moved_is_looked_for_in_the_next_table():
    """Its old worker may be the only one for another stage; tables that come meanwhile count as no attempt."""
    bench = Bench("a", "b", max_attempts=1)
    bench.routes(["a"], ["a"])
    async with bench.asking() as asked:
        for index in range(3):
            bench.refuse("a", await bench.activation("a", index), "STAGE_GONE", retriable=True)
            await asyncio.sleep(0)
            bench.routes(["a"], ["a"] if index < 2 else ["b"])
        activation = await bench.activation("a", 3)
        assert [hop.worker for hop in activation.route.hops] == ["a", "b"]
        bench.answer("b", activation)
        assert (await asked).trace.attempts == 4


async def test_a_stage_that_is_gone_and_in_no_other_table_fails_like_any_other(monkeypatch):
    """Nothing is waited for without end."""
    monkeypatch.setattr(dispatcher, "TABLE_WAIT_S", 0.01)
    bench = Bench("a")
    bench.routes(["a"])
    async with bench.asking() as asked:
        bench.refuse("a", await bench.activation("a"), "STAGE_GONE", retriable=True)
        with pytest.raises(Unavailable, match="no live replica left"):
            await asked


async def test_a_worker_that_was_started_anew_loses_its_old_stream():
    """The table's generation is newer than the stream's: whoever was there is gone."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.asking() as request:
        await bench.activation("a")
        old = bench.peers.streams["a"]
        bench.routes("a", generation=2)
        assert not old.is_open
        with pytest.raises(Unavailable, match="worker 'a' was started anew"):
            await request


async def test_a_model_that_is_undeployed_while_it_is_retried():
    """The next attempt finds no such model."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.asking() as request:
        await bench.activation("a")
        bench.dispatcher.update(EMPTY_TABLE)
        with pytest.raises(Unavailable, match="model 'm' version 1 is no longer deployed: worker 'a'"):
            await request
