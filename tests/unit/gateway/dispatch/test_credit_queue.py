"""Large requests that wait for credit of their first stage."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.errors import DeadlineExceeded
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link_policy.credits import WINDOW_BYTES
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from tests.eventually import eventually
from tests.unit.gateway.dispatch_bench import Bench

SIZE = WINDOW_BYTES // 3
"""Three fit."""

LARGE = Tensor("x", Datatype.UINT8, (SIZE, 1), bytes(SIZE))
SMALL = Tensor("x", Datatype.UINT8, (4, 1), b"1234")


def give_back(bench, worker, stage="m/1/0"):
    header = frame_pb2.FrameHeader(credit=frame_pb2.Credit(stage=stage, credit=SIZE))
    bench.dispatcher.on_frame(worker, Frame(header))


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


class Crowd:
    """Several requests at once."""

    def __init__(self, *workers):
        self.bench = Bench(*workers)
        self.tasks = []

    def start(self, tensor=LARGE, **changes):
        order = self.bench.new_request(tensors=(tensor,), **changes)
        self.tasks.append(asyncio.ensure_future(self.bench.infer(order)))
        return self.tasks[-1]

    def sent(self, worker="a"):
        """The request ids that a worker was sent, in order."""
        return [frame.header.activation.request_id for frame in self.bench.links.streams[worker].sent]

    async def end(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        assert self.bench.dispatcher.num_in_flight == 0
        assert self.bench.dispatcher._credit_queue.num_waiting == 0


async def test_credit_queue_orders_large_requests_and_small_ones_pass():
    """The most urgent goes first, then the earliest deadline, then the first."""
    crowd = Crowd("a", "b")
    crowd.bench.routes("a", "b")
    for number in range(4):
        crowd.start(request_id=str(number))
    late = crowd.bench.new_request().deadline
    for request_id, more in (
        ("late", {}),
        ("soon", {"deadline": type(late)(late.at_s - 1)}),
        ("first", {"priority": 1}),
    ):
        crowd.start(request_id=request_id, **more)
    crowd.start(SMALL, request_id="small")
    await settle()
    assert crowd.sent() == ["0", "1", "2", "small"]
    taken = [frame.header.activation.credit for frame in crowd.bench.links.streams["a"].sent]
    assert taken == [SIZE] * 3 + [0]
    for _ in range(4):
        give_back(crowd.bench, "a")
        give_back(crowd.bench, "a", "m/1/1")
        await settle()
    assert crowd.sent()[4:] == ["first", "soon", "3", "late"]
    await crowd.end()


async def test_credit_queue_skips_a_request_that_has_ended():
    """Cancelled, out of time, or failed with its link; what was taken for one that could not be sent comes back."""
    crowd = Crowd("a", "b")
    crowd.bench.routes("a", "b")
    for number in range(3):
        crowd.start(request_id=str(number))
    cancelled = crowd.start(request_id="cancelled")
    await settle()
    late = crowd.start(
        request_id="late", deadline=crowd.bench.new_request().deadline.after(0.01, crowd.bench.clock)
    )
    last = crowd.start(request_id="last")
    await settle()
    cancelled.cancel()
    with pytest.raises(DeadlineExceeded):
        await late
    give_back(crowd.bench, "a")
    await settle()
    assert crowd.sent() == ["0", "1", "2", "last"]
    assert not last.done()
    await crowd.end()


async def test_remove_worker_admits_its_waiting_requests():
    """They go to another worker, as far as that has credit."""
    crowd = Crowd("a", "b")
    crowd.bench.routes("a")
    for number in range(5):
        crowd.start(request_id=str(number))
    await settle()
    assert crowd.sent() == ["0", "1", "2"]
    crowd.bench.routes("ab")
    crowd.bench.lose("a")
    await eventually(lambda: len(crowd.sent("b")) == 3)
    for _ in range(2):
        give_back(crowd.bench, "b")
    await eventually(lambda: sorted(crowd.sent("b")) == ["0", "1", "2", "3", "4"])
    await crowd.end()


async def test_credit_of_a_request_that_could_not_be_sent_is_given_back():
    """The stream is closed under the request."""
    crowd = Crowd("a")
    crowd.bench.routes("a")
    crowd.bench.links.streams["a"].broken = True
    for number in range(5):
        crowd.start(request_id=str(number))
    await settle()
    assert crowd.bench.dispatcher._credit_queue._credits.in_flight(("a", "m/1/0")) == (0, 0)
    await crowd.end()
