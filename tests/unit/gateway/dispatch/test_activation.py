"""Activations of one attempt, with inputs that go straight to a later stage: without sockets."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.deadline import Deadline
from onnxmesh.errors import DeadlineExceeded, ModelRunFailed
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from tests.eventually import eventually
from tests.unit.gateway.dispatch_bench import Bench

TENSORS = tuple(Tensor(name, Datatype.UINT8, (4,), name.encode() * 4) for name in "xuv")
SPECS = tuple((name, "UINT8", [4]) for name in "xuv")
DIRECT = {0: ("x",), 1: ("u",), 2: ("x", "u", "v")}
"""u goes to two later stages, x to the first and to the last."""


def routed(bench, *stages, direct=None):
    bench.routes(*stages, inputs=SPECS, direct=DIRECT if direct is None else direct)


def asking(bench, **changes):
    return bench.inferring(tensors=TENSORS, **changes)


def names(frame):
    return [tensor.name for tensor in frame.header.activation.tensors]


async def test_activation_frames_give_each_hop_its_inputs_without_a_copy():
    """All parts say the same key, route and deadline; the later ones that they come straight from the gateway."""
    bench = Bench(*"abc")
    routed(bench, *"abc")
    async with asking(bench, requested_outputs=("y",), traceparent="00-1") as request:
        first = await bench.activation("a")
        frames = [bench.links.streams[worker].sent for worker in "abc"]
        assert [len(sent) for sent in frames] == [1, 1, 1]
        parts = [sent[0] for sent in frames]
        assert [names(part) for part in parts] == [["x"], ["u"], ["x", "u", "v"]]
        headers = [part.header.activation for part in parts]
        assert [(header.hop, header.direct) for header in headers] == [(0, False), (1, True), (2, True)]
        assert list(first.requested_outputs) == ["y"]
        for header in headers:
            assert (header.key, header.route, header.remaining_us) == (first.key, first.route, 60_000_000)
            assert (header.request_id, header.traceparent) == ("r", "00-1")
        x, u, v = (tensor.data for tensor in TENSORS)
        for part, payloads in zip(parts, [[x], [u], [x, u, v]], strict=True):
            assert all(sent is given for sent, given in zip(part.payloads, payloads, strict=True))
        bench.answer("c", first)
        await request
    assert [bench.links.streams[worker].cancelled for worker in "abc"] == [[], [], []]


async def test_activation_frames_give_two_hops_on_one_worker_a_frame_each():
    """On the same stream, hop 0 first."""
    bench = Bench("a", "b")
    routed(bench, *"aba")
    async with asking(bench) as request:
        await bench.activation("a", 1)
        sent = bench.links.streams["a"].sent
        assert [(frame.header.activation.hop, names(frame)) for frame in sent] == [
            (0, ["x"]),
            (2, ["x", "u", "v"]),
        ]
        bench.answer("a", sent[0].header.activation)
        await request


async def test_activation_frames_start_a_first_stage_without_inputs():
    """It starts the request all the same."""
    bench = Bench("a", "b")
    routed(bench, *"ab", direct={1: ("x", "u", "v")})
    async with asking(bench):
        assert not (await bench.activation("a")).tensors
        assert names(bench.links.streams["b"].sent[0]) == ["x", "u", "v"]


@pytest.mark.parametrize("broken", ["b", "c"])
async def test_direct_input_that_cannot_be_sent_fails_the_whole_attempt(broken):
    """The workers that got their part of the attempt get a Cancel frame, and all parts are sent again."""
    bench = Bench(*"abcde")
    routed(bench, "a", "bd", "ce")
    bench.links.streams[broken].broken = True
    # The broken replica is the less loaded one, so it is picked first.
    for worker in {"b", "c", "d", "e"} - {broken}:
        bench.report_load(worker, 1 if worker in "de" else 0)
    async with asking(bench) as request:
        second = await bench.activation("a", 1)
        assert second.key.attempt == 1
        assert broken not in [hop.worker for hop in second.route.hops]
        assert bench.links.streams["a"].cancelled == [(1, 0)]
        last = second.route.hops[2].worker
        assert [part.header.activation.key.attempt for part in bench.links.streams[last].sent][-1] == 1
        bench.answer(last, second)
        assert (await request).trace.attempts == 2


async def test_direct_input_at_a_lost_worker_fails_the_attempt():
    """Though nothing of the request has come to it from the stage before."""
    bench = Bench(*"abcd")
    routed(bench, *"abc")
    async with asking(bench) as request:
        await bench.activation("c")
        routed(bench, "a", "b", "cd")
        bench.lose("c")
        second = await bench.activation("d")
        assert (second.key.number, second.key.attempt, second.direct) == (1, 1, True)
        assert bench.links.streams["b"].cancelled == [(1, 0)]
        bench.answer("d", second)
        assert (await request).trace.attempts == 2


async def test_direct_inputs_are_cancelled_after_a_final_failure():
    """The worker that refused has notified only the gateway."""
    bench = Bench(*"abc")
    routed(bench, *"abc")
    async with asking(bench) as request:
        bench.refuse("a", await bench.activation("a"), "MODEL_RUN_FAILED", retriable=False)
        with pytest.raises(ModelRunFailed):
            await request
    assert [bench.links.streams[worker].cancelled for worker in "bc"] == [[(1, 0)], [(1, 0)]]


@pytest.mark.parametrize("end", ["cancelled", "late"])
async def test_direct_inputs_are_cancelled_with_their_request(end):
    """Those that have only their direct part included."""
    bench = Bench(*"abc")
    routed(bench, *"abc")
    deadline = Deadline.after(0.02 if end == "late" else 60, bench.clock)
    async with asking(bench, deadline=deadline) as request:
        await bench.activation("c")
        if end == "cancelled":
            request.cancel()
        with pytest.raises(asyncio.CancelledError if end == "cancelled" else DeadlineExceeded):
            await request
    assert [bench.links.streams[worker].cancelled for worker in "abc"] == [[(1, 0)]] * 3


async def test_direct_inputs_are_not_sent_for_an_attempt_that_has_failed():
    """Where a slow stream holds an earlier part up."""
    bench = Bench(*"abcd")
    routed(bench, "a", "b", "cd")
    bench.links.streams["b"].has_capacity = asyncio.Event()
    async with asking(bench) as request:
        sent = await bench.activation("a")
        await eventually(lambda: bench.links.streams["b"].sent)
        last = sent.route.hops[2].worker
        bench.lose(last)
        bench.links.streams["b"].has_capacity.set()
        other = {"c": "d", "d": "c"}[last]
        second = await bench.activation(other)
        assert not bench.links.streams[last].sent
        bench.answer(other, second)
        assert (await request).trace.attempts == 2
