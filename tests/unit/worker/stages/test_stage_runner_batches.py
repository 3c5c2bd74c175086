"""Batches of a stage runner: each request gets its own answer, or its own failure."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from services.worker.requests.request_key import RequestKey
from tests.eventually import eventually
from tests.fakes.row_session import BAD, RowSession
from tests.unit.worker.running_stage import GatewayLink, running
from tests.unit.worker.stage_requests import request, rows, rule, tensor

MAX_ROWS = 6
LIKE = rule(MAX_ROWS)


def answers(link):
    """Returns the received tensors by number of the request."""
    found = {}
    for frame in link.frames:
        header = frame.header.result
        assert header.key.number not in found, "answered twice"
        found[header.key.number] = [bytes(payload) for payload in frame.payloads]
    return found


def batches(link):
    return [frame.header.result.timings[-1].batch for frame in link.frames]


async def test_stage_runner_batches_what_is_queued_during_a_run():
    """An idle stage runs the first request at once; the rest go together, up to the most rows."""
    async with running(RowSession(), batching=rule(4)) as stage:
        stage.runner.submit(rows(0, 1))
        await eventually(lambda: stage.session.runs == [1])
        for number in range(1, 6):
            stage.runner.submit(rows(number, number))
        assert (stage.runner.num_running, stage.runner.num_queued) == (1, 5)
        stage.session.release()
        await eventually(lambda: stage.session.runs == [1, 4])
        assert (stage.runner.num_running, stage.runner.num_queued) == (4, 1)
        stage.session.release(2)
        await stage.settled()
        assert stage.session.runs == [1, 4, 1]
        assert answers(stage.link) == {n: [bytes([3 * n or 3])] for n in range(6)}
        assert batches(stage.link) == [1, 4, 4, 4, 4, 1]
        assert stage.counts == (6, 0, 0)


async def test_stage_runner_divides_the_time_of_a_run_among_its_requests():
    """What a request takes of the stage, in the mean that gateways plan with, is its part of the run."""
    async with running(RowSession(), batching=rule(4)) as stage:
        stage.runner.submit(rows(0, 1))
        await eventually(lambda: stage.session.runs == [1])
        for number in range(1, 5):
            stage.runner.submit(rows(number, number))
        stage.session.release()
        await eventually(lambda: stage.session.runs == [1, 4])
        alone_s = stage.runner.mean_compute_s
        stage.session.release()
        await stage.settled()
        last = stage.link.frames[-1].header.result.timings[-1]
        expected = alone_s
        for _ in range(4):
            expected += 0.1 * (last.compute_ns / 4e9 - expected)
        assert stage.runner.mean_compute_s == pytest.approx(expected)


async def test_stage_runner_fails_a_bad_request_of_a_batch_alone():
    """Those that it ran with are run again, each alone, once."""
    async with running(RowSession(), batching=rule(4)) as stage:
        stage.runner.submit(rows(0, 1))
        await eventually(lambda: stage.session.runs == [1])
        for number, value in enumerate([5, BAD, 7], start=1):
            stage.runner.submit(rows(number, value))
        stage.session.release(5)
        await stage.settled()
        assert stage.session.runs == [1, 3, 1, 1, 1]
        assert answers(stage.link) == {0: [b"\x03"], 1: [b"\x0f"], 3: [b"\x15"]}
        assert [(failure.key.number, failure.reason) for failure in stage.link.failures] == [
            (2, "MODEL_RUN_FAILED")
        ]
        assert batches(stage.link) == [1, 1, 1]
        assert stage.counts == (3, 0, 1)


async def test_stage_runner_runs_one_by_one_when_a_model_loses_rows():
    """A batch whose answer has another number of rows than its inputs is run again, one by one."""
    session = RowSession()
    session.lost_rows = 1
    async with running(session, batching=rule(4)) as stage:
        stage.runner.submit(rows(0, 1))
        await eventually(lambda: stage.session.runs == [1])
        for number in (1, 2):
            stage.runner.submit(rows(number, number))
        stage.session.release(4)
        await stage.settled()
        assert answers(stage.link) == {0: [b"\x03"], 1: [b"\x03"], 2: [b"\x06"]}


async def test_stage_runner_leaves_ended_requests_out_of_a_batch():
    """Cancelled and late requests are dropped before the batch is formed."""
    async with running(RowSession(), batching=rule(4)) as stage:
        stage.runner.submit(rows(0, 1))
        await eventually(lambda: stage.session.runs == [1])
        for number, at_s in enumerate([50.0, 5.0, 50.0, 50.0], start=1):
            stage.runner.submit(rows(number, number, at_s=at_s))
        stage.cancel(3)
        stage.now_s = 6.0
        stage.session.release(2)
        await stage.settled()
        assert stage.session.runs == [1, 2]
        assert answers(stage.link).keys() == {0, 1, 4}
        assert [failure.key.number for failure in stage.link.failures] == [2]


async def test_stage_runner_runs_urgent_requests_first():
    """Of one priority, those with less time left."""
    async with running(RowSession(), batching=rule(1)) as stage:
        stage.runner.submit(rows(0, 1))
        await eventually(lambda: stage.session.runs == [1])
        stage.runner.submit(rows(1, 1))
        stage.runner.submit(rows(2, 1, at_s=5.0))
        stage.runner.submit(rows(3, 1, priority=7))
        stage.runner.submit(rows(4, 1, priority=101, at_s=1.0))
        stage.session.release(5)
        await stage.settled()
        assert [frame.header.result.key.number for frame in stage.link.frames] == [0, 3, 2, 1, 4]


async def test_stage_runner_ignores_a_rule_of_another_cpu_class():
    """A rule that is tied to a class is for workers of that class alone."""
    for cpu_class, together in (("this", True), ("another", False), ("", False)):
        known = rule(4, cpu_class="this")
        async with running(RowSession(), batching=known, cpu_class=cpu_class) as stage:
            stage.runner.submit(rows(0, 1))
            await eventually(lambda stage=stage: stage.session.runs == [1])
            stage.runner.submit(rows(1, 1))
            stage.runner.submit(rows(2, 1))
            stage.session.release(3)
            await stage.settled()
            assert stage.session.runs == ([1, 2] if together else [1, 1, 1])


async def test_stage_runner_fails_the_whole_batch_when_it_ends():
    """Each of those that run together, and each that waits."""
    async with running(RowSession(), batching=rule(4)) as stage:
        stage.runner.submit(rows(0, 1))
        await eventually(lambda: stage.session.runs == [1])
        for number in range(1, 7):
            stage.runner.submit(rows(number, number))
        stage.session.release()
        await eventually(lambda: len(stage.session.runs) == 2)
    assert sorted(failure.key.number for failure in stage.link.failures) == [1, 2, 3, 4, 5, 6]
    assert {failure.reason for failure in stage.link.failures} == {"STAGE_GONE"}


async def test_stage_runner_batches_joined_requests():
    """Where the gateway sends inputs straight to a stage, too."""
    known = rule(4, inputs=(("x", Datatype.UINT8), ("s", Datatype.UINT8)))
    async with running(RowSession(opened=True), batching=known, direct=("s",)) as stage:
        for number in range(3):
            more = {"stages": ("m/1/0", "m/1/1"), "hop": 1}
            row = Tensor("x", Datatype.UINT8, (1, 1), bytes([number]))
            stage.runner.submit(request(number, tensors={"x": row}, **more))
            row = Tensor("s", Datatype.UINT8, (1, 1), bytes([10 + number]))
            stage.runner.submit(request(number, tensors={"s": row}, direct=True, **more))
        await stage.settled()
        assert stage.session.runs == [3]
        assert stage.session.shared == [bytes([10, 11, 12])]
        assert answers(stage.link) == {number: [bytes([3 * number])] for number in range(3)}


offers = st.tuples(
    st.just("offer"),
    st.sampled_from(["gateway", "other"]),
    st.lists(st.sampled_from([1, 2, 3, BAD]), min_size=1, max_size=3),
    st.integers(1, 2),
)
events = st.lists(
    st.one_of(
        offers,
        offers,
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("release"), st.integers(1, 3)),
        st.tuples(st.just("lose"), st.just("other")),
        st.tuples(st.just("breathe"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(events)
def test_stage_runner_ends_each_request_once_whatever_happens(events):
    """Sizes, orders, bad ones, cancellations and lost gateways in any order: each request gets its own answer once."""
    asyncio.run(_drive(events))


async def _drive(events):
    async with running(RowSession(), queue_size=64, batching=LIKE) as stage:
        other = stage.others["other"] = GatewayLink()
        sent, given_up = {}, set()
        for kind, what, *rest in events:
            if kind == "offer":
                number = len(sent)
                values, width = rest
                sent[number] = (what, values, width)
                stage.runner.submit(rows(number, *values, width=width, origin=what))
            elif kind == "cancel":
                origin = sent.get(what, ("gateway",))[0]
                stage.cancellations.add(RequestKey(origin, what, 0))
                stage.runner.cancel(RequestKey(origin, what, 0))
                given_up.add(what)
            elif kind == "release":
                stage.session.release(what)
            elif kind == "lose":
                given_up |= {number for number, (origin, *_) in sent.items() if origin == what}
                stage.runner.drop_gateway(what)
            else:
                await asyncio.sleep(0)
        stage.session.release(200)
        await stage.settled()
    for name, link in (("gateway", stage.link), ("other", other)):
        got = answers(link)
        failed = [failure.key.number for failure in link.failures]
        assert len(failed) == len(set(failed))
        for number, (origin, values, width) in sent.items():
            if origin != name:
                assert number not in got and number not in failed
            elif number in got:
                assert BAD not in values
                assert got[number] == [bytes(3 * value for value in values for _ in range(width))]
            elif number in failed:
                assert BAD in values
            else:
                assert number in given_up
    assert sum(stage.counts) == len(sent)
    assert all(size <= MAX_ROWS for size in stage.session.runs)


async def test_stage_runner_runs_a_request_beyond_the_most_rows_alone():
    """It is not cut."""
    async with running(RowSession(), batching=rule(2)) as stage:
        for number in range(2):
            stage.runner.submit(rows(number, 1, 2, 3))
        stage.session.release(2)
        await stage.settled()
        assert stage.session.runs == [3, 3]


async def test_stage_runner_without_a_rule_runs_each_request_alone():
    """Whatever its tensors are."""
    async with running(RowSession(opened=True)) as stage:
        for number in range(3):
            stage.runner.submit(request(number, stages=("m/1/0",), tensors={"x": tensor("x", b"1")}))
        await stage.settled()
        assert stage.session.runs == [1, 1, 1]


async def test_stage_runner_runs_micro_batches_of_one_request_one_after_another():
    """The next stage is sent the first one before the run of the second has ended here, though both waited together."""
    async with running(RowSession(), batching=rule(4)) as stage:
        for number in (1, 2):
            tensors = {"x": Tensor("x", Datatype.UINT8, (1, 1), bytes([number]))}
            stage.runner.submit(request(number, tensors=tensors, split_of=7))
        await eventually(lambda: stage.session.runs == [1])
        stage.session.release()
        await eventually(lambda: stage.session.runs == [1, 1] and stage.delivered)
        (following,) = stage.delivered
        assert (following.key.number, following.header.split_of) == (1, 7)
        assert stage.runner.num_running == 1
        stage.session.release()
        await stage.settled()


async def test_stage_runner_begins_a_second_run_when_its_batch_is_full():
    """What would become larger by waiting for the first run to end does wait; a full batch does not, nor what runs alone."""
    async with running(RowSession(), batching=rule(3), at_once=2) as stage:
        stage.runner.submit(rows(0, 1))
        await eventually(lambda: stage.session.runs == [1])
        stage.runner.submit(rows(1, 1))
        stage.runner.submit(rows(2, 2))
        assert (stage.runner.num_running, stage.runner.num_queued) == (1, 2)
        stage.runner.submit(rows(3, 3))
        await eventually(lambda: stage.session.runs == [1, 3])
        stage.runner.submit(rows(4, 4))
        assert (stage.runner.num_running, stage.runner.num_queued) == (4, 1)
        stage.session.release(2)
        await eventually(lambda: stage.session.runs == [1, 3, 1])
        stage.session.release()
        await stage.settled()
        assert answers(stage.link) == {n: [bytes([3 * n or 3])] for n in range(5)}
        assert stage.counts == (5, 0, 0)
