"""The stage runner: order, limits, cancellation, failures and eviction."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from onnxmesh.errors import ModelRunFailed, Overloaded
from tests.eventually import eventually
from tests.fakes.gated_session import GatedSession
from tests.unit.worker.running_stage import running
from tests.unit.worker.stage_requests import last, request, tensor


async def test_stage_runner_runs_requests_in_the_order_of_arrival():
    """Answers leave in the same order."""
    async with running(GatedSession(opened=True)) as stage:
        for number in range(5):
            stage.runner.submit(last(number, tensors={"x": tensor("x", bytes([number]))}))
        await stage.settled()
        assert stage.session.runs == [bytes([number]) for number in range(5)]
        assert [frame.header.result.key.number for frame in stage.link.frames] == [0, 1, 2, 3, 4]
        assert stage.counts == (5, 0, 0)


async def test_stage_runner_refuses_when_full_and_expires_late_requests_first():
    """The late request gets DEADLINE_EXCEEDED."""
    async with running(queue_size=2) as stage:
        stage.runner.submit(last(1))
        await eventually(lambda: stage.session.num_started == 1)
        stage.runner.submit(last(2, at_s=5.0))
        stage.runner.submit(last(3))
        with pytest.raises(Overloaded):
            stage.runner.submit(last(4))
        stage.now_s = 6.0
        stage.runner.submit(last(5))
        assert [failure.key.number for failure in stage.link.failures] == [2]
        stage.session.release(3)
        await stage.settled()
        assert stage.counts == (3, 1, 0)


async def test_stage_runner_frees_the_place_of_a_cancelled_request_at_once():
    """It never runs, and its gateway gets no answer."""
    async with running(queue_size=1) as stage:
        stage.runner.submit(last(1))
        await eventually(lambda: stage.session.num_started == 1)
        stage.runner.submit(last(2))
        stage.cancel(2)
        stage.runner.submit(last(3))
        stage.session.release(2)
        await stage.settled()
        assert stage.session.num_started == 2
        assert stage.counts == (2, 1, 0)
        assert stage.link.failures == []


async def test_stage_runner_drops_the_requests_of_a_disconnected_gateway():
    """Requests of other gateways stay."""
    async with running() as stage:
        stage.runner.submit(last(1))
        await eventually(lambda: stage.session.num_started == 1)
        stage.runner.submit(last(2))
        stage.runner.drop_gateway("another")
        assert stage.runner.num_queued == 1
        stage.runner.drop_gateway("gateway")
        stage.session.release()
        await stage.settled()
        assert stage.counts == (1, 1, 0)


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_stage_runner_does_not_forward_a_request_that_ended_during_its_run(how):
    """Cancelled: no answer. Late: a Failure."""
    async with running() as stage:
        stage.runner.submit(request(1, at_s=5.0))
        await eventually(lambda: stage.session.num_started == 1)
        if how == "cancelled":
            stage.cancel(1)
        else:
            stage.now_s = 6.0
        stage.session.release()
        await stage.settled()
        assert stage.delivered == []
        assert stage.counts == (0, 1, 0)
        reasons = [failure.reason for failure in stage.link.failures]
        assert reasons == ([] if how == "cancelled" else ["DEADLINE_EXCEEDED"])


@pytest.mark.parametrize(
    ("error", "reason", "retriable"),
    [
        (ModelRunFailed("shapes differ"), "MODEL_RUN_FAILED", False),
        (MemoryError(), "OVERLOADED", True),
        (ModelRunFailed("Failed to allocate memory for requested buffer of size 9"), "OVERLOADED", True),
        (ZeroDivisionError("secret"), "INTERNAL", False),
    ],
)
async def test_stage_runner_fails_only_the_request_whose_run_failed(error, reason, retriable):
    """The next one is served; the text of a defect is not sent."""
    async with running(GatedSession(opened=True)) as stage:
        stage.session.errors = [error]
        stage.runner.submit(last(1))
        stage.runner.submit(last(2))
        await stage.settled()
        (failure,) = stage.link.failures
        assert (failure.key.number, failure.reason, failure.retriable) == (1, reason, retriable)
        assert "secret" not in failure.message
        assert stage.counts == (1, 0, 1)


async def test_stage_runner_drops_a_result_without_a_gateway():
    """It counts as dropped."""
    async with running(GatedSession(opened=True)) as stage:
        stage.link = None
        stage.runner.submit(last(1))
        await stage.settled()
        assert stage.counts == (0, 1, 0)


async def test_stage_runner_fails_all_requests_when_it_ends():
    """The running one included; its outputs are discarded."""
    async with running() as stage:
        stage.runner.submit(last(1))
        await eventually(lambda: stage.session.num_started == 1)
        stage.runner.submit(last(2))
    assert [(f.key.number, f.reason) for f in stage.link.failures] == [(1, "STAGE_GONE"), (2, "STAGE_GONE")]
    assert stage.link.frames == []
    assert stage.counts == (0, 0, 2)


@pytest.mark.parametrize("end", ["answered", "failed", "cancelled", "late"])
async def test_stage_runner_keeps_no_tensors_of_an_ended_request(end):
    """However it ended, and without garbage collection."""
    async with running(GatedSession(opened=end in {"answered", "failed"})) as stage:
        array = np.zeros(1000, np.uint8)
        released = weakref.ref(array)
        stage.session.errors = [ModelRunFailed("no")] if end == "failed" else []
        gc.collect()
        gc.disable()
        try:
            it = last(1, at_s=5.0, tensors={"x": tensor("x", array.data)})
            del array
            stage.runner.submit(it)
            del it
            if end in {"cancelled", "late"}:
                await eventually(lambda: stage.session.num_started == 1)
                stage.cancel(1) if end == "cancelled" else setattr(stage, "now_s", 6.0)
                stage.session.release()
            await stage.settled()
            stage.link.frames.clear()
            await eventually(lambda: released() is None)
        finally:
            gc.enable()


async def test_stage_runner_runs_two_requests_concurrently():
    """Each in a thread of its own; a third request is queued."""
    async with running(at_once=2) as stage:
        for number in range(3):
            stage.runner.submit(last(number, tensors={"x": tensor("x", bytes([number]))}))
        await eventually(lambda: stage.session.num_started == 2)
        assert (stage.runner.num_running, stage.runner.num_queued) == (2, 1)
        stage.session.release()
        await eventually(lambda: stage.session.num_started == 3)
        assert stage.runner.num_running == 2
        stage.session.release(2)
        await stage.settled()
        assert sorted(frame.header.result.key.number for frame in stage.link.frames) == [0, 1, 2]
        assert stage.counts == (3, 0, 0)


async def test_stage_runner_fails_the_requests_of_both_runs_when_it_ends():
    """And the queued one."""
    async with running(at_once=2) as stage:
        for number in range(3):
            stage.runner.submit(last(number))
        await eventually(lambda: stage.session.num_started == 2)
    assert sorted(failure.key.number for failure in stage.link.failures) == [0, 1, 2]
    assert {failure.reason for failure in stage.link.failures} == {"STAGE_GONE"}
    assert stage.counts == (0, 0, 3)
