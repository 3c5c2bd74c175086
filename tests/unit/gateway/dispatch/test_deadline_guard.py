"""The layer that ends a request at its deadline."""

from __future__ import annotations

import asyncio
from math import inf

import pytest

from onnxmesh.deadline import Deadline
from onnxmesh.errors import DeadlineExceeded, Unavailable
from services.gateway.dispatch.deadline_guard import DeadlineGuard
from services.gateway.requests.attempts import AttemptFailure
from services.gateway.requests.inference_request import InferenceRequest
from tests.fakes.clock import Clock


class Layer:
    """A next layer that records a failed attempt and never ends, or returns what it was given."""

    def __init__(self, result=None):
        self.result = result
        self.cancelled = False
        self.requests = []

    async def infer(self, request):
        self.requests.append(request)
        if self.result is not None:
            return self.result
        request.failures.append(AttemptFailure(error=Unavailable("lost"), worker="a", retriable=True))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_deadline_guard_returns_the_result_of_the_next_layer():
    """Unchanged, where it comes in time; also without a deadline."""
    layer = Layer("result")
    request = InferenceRequest("m", (), (), Deadline(inf))
    assert await DeadlineGuard(layer).infer(request) == "result"
    assert layer.requests == [request]


async def test_deadline_guard_does_not_run_a_request_whose_deadline_has_passed():
    """At the deadline itself it has."""
    layer = Layer("result")
    guard = DeadlineGuard(layer, clock=Clock(5.0))
    with pytest.raises(DeadlineExceeded) as caught:
        await guard.infer(InferenceRequest("m", (), (), Deadline(5.0)))
    assert caught.value.message == "m: the deadline passed before the answer"
    assert not layer.requests


async def test_deadline_guard_cancels_the_next_layer_at_the_deadline():
    """The error counts the failed attempts until then."""
    layer = Layer()
    guard = DeadlineGuard(layer, clock=Clock(5.0))
    with pytest.raises(DeadlineExceeded, match=r"before the answer after 1 failed attempt$"):
        await guard.infer(InferenceRequest("m", (), (), Deadline(5.001)))
    assert layer.cancelled
