"""Small requests that leave together: without a dispatcher."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.deadline import Deadline
from onnxmesh.errors import ModelRunFailed
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1.frame_pb2 import HopTiming
from onnxmesh.v1.mesh_pb2 import RouteTable, Splitting
from services.gateway.batching.request_coalescer import MAX_BYTES, RequestCoalescer
from services.gateway.requests.inference_request import InferenceRequest, InferenceResult
from services.gateway.requests.trace import Trace
from tests.fakes.routed_models import routed_model

BAD = 255


def model(max_rows=64, max_batch_rows=32, splitting=True):
    message = routed_model([[("a", "a:1")]])
    if splitting:
        message.splitting.CopyFrom(
            Splitting(max_rows=max_rows, max_batch_rows=max_batch_rows, shared=["table"])
        )
    return RoutingTable.from_proto(RouteTable(models=[message])).find("m", "")


class Mesh:
    """Adds one to each byte; a request with a `BAD` byte fails. Keeps what it was sent."""

    def __init__(self, row_ns=1_000):
        self.row_ns = row_ns
        self.orders = []
        self.rows_answered = None
        self.gathering = RequestCoalescer(self.infer)

    async def infer(self, order):
        (tensor,) = order.tensors
        data = bytes(tensor.data)
        self.orders.append(order)
        await asyncio.sleep(0)
        if BAD in data:
            raise ModelRunFailed("a bad byte")
        rows = tensor.shape[0]
        shape = (self.rows_answered or rows, *tensor.shape[1:])
        hop = HopTiming(stage="m/1/0", worker="a", compute_ns=self.row_ns * rows, rows=rows)
        tensors = (
            Tensor("y", Datatype.UINT8, shape, bytes(byte + 1 for byte in data)),
            Tensor("table", Datatype.UINT8, (3,), b"abc"),
        )
        return InferenceResult(tensors, Trace.of(0.0, 1, [hop], 0, 0))

    async def known(self, model):
        """The mesh has answered a request once: what a row takes is known."""
        await self.gathering.infer(order(model, b"\0"))
        self.orders.clear()
        return self


def order(model, data, *, row=1, **more):
    tensor = Tensor("x", Datatype.UINT8, (len(data) // row, row), data)
    return InferenceRequest(model, (tensor,), (), more.pop("deadline", Deadline(math.inf)), **more)


def ys(answers):
    return [bytes(answer.tensors[0].data) for answer in answers]


async def together(mesh, orders):
    return await asyncio.gather(*(mesh.gathering.infer(each) for each in orders), return_exceptions=True)


async def test_requests_of_one_turn_leave_as_one_and_each_gets_its_rows():
    """With the earliest deadline; outputs that all rows share go to everyone."""
    it = model()
    mesh = await Mesh().known(it)
    orders = [
        order(it, b"\1\2", deadline=Deadline(9.0)),
        order(it, b"\3", deadline=Deadline(5.0)),
        order(it, b"\4"),
    ]
    answers = await together(mesh, orders)
    assert ys(answers) == [b"\2\3", b"\4", b"\5"]
    assert [answer.tensors[0].shape for answer in answers] == [(2, 1), (1, 1), (1, 1)]
    assert all(answer.tensors[1].data == b"abc" for answer in answers)
    (sent,) = mesh.orders
    assert (sent.tensors[0].shape, sent.deadline.at_s) == ((4, 1), 5.0)


async def test_a_request_that_comes_alone_goes_as_it_is():
    """It waits for nobody."""
    it = model()
    mesh = await Mesh().known(it)
    lonely = order(it, b"\1")
    assert ys(await together(mesh, [lonely])) == [b"\2"]
    assert mesh.orders[0] is lonely


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (lambda it: (order(it, b"\1"), order(it, b"\1\2", row=2)), "rows differ"),
        (lambda it: (order(it, b"\1"), order(it, bytes(MAX_BYTES + 1))), "too many bytes"),
        (lambda it: (order(it, b"\1"), order(it, bytes(32))), "too many rows"),
        (lambda it: (order(it, b"\1"), order(it, b"\1", traceparent="00-1")), "it is traced"),
        (lambda it: (order(it, b"\1"), order(it, b"")), "no row at all"),
    ],
)
async def test_what_is_not_alike_or_not_small_goes_alone(pair, why):
    """Two requests of one turn, two orders."""
    it = model()
    mesh = await Mesh().known(it)
    await together(mesh, pair(it))
    assert len(mesh.orders) == 2, why


@pytest.mark.parametrize(
    ("model", "row_ns"), [(model(splitting=False), 1), (model(), 1_000_000), (model(max_batch_rows=1), 1)]
)
async def test_models_that_do_not_gain_or_must_not_are_let_be(model, row_ns):
    """No rows by the deploy's check, long runs, or a limit of one row."""
    mesh = await Mesh(row_ns).known(model)
    await together(mesh, [order(model, b"\1"), order(model, b"\2")])
    assert len(mesh.orders) == 2


async def test_nothing_is_gathered_before_a_row_was_measured():
    """A model may be anything until then."""
    it = model()
    mesh = Mesh()
    await together(mesh, [order(it, b"\1"), order(it, b"\2")])
    assert len(mesh.orders) == 2


async def test_an_answer_without_a_row_for_each_row_is_not_used():
    """Each request is then run alone."""
    it = model()
    mesh = await Mesh().known(it)
    mesh.rows_answered = 1
    answers = await together(mesh, [order(it, b"\1"), order(it, b"\2")])
    assert ys(answers) == [b"\2", b"\3"]
    assert len(mesh.orders) == 3


async def test_who_gives_up_does_not_harm_the_others():
    """Whether it came first or later, in its turn or while the mesh works; not even where the rest has to be run again."""
    it = model()
    mesh = await Mesh().known(it)
    for data in (b"\1", bytes([BAD])):
        for leaving in range(3):
            for turns in range(5):
                tasks = [
                    asyncio.create_task(mesh.gathering.infer(order(it, each)))
                    for each in (data, b"\2", b"\3")
                ]
                for _ in range(turns):
                    await asyncio.sleep(0)
                tasks[leaving].cancel()
                ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
                for number, expected in enumerate((None if data[0] == BAD else b"\2", b"\3", b"\4")):
                    if number == leaving and isinstance(ended[number], asyncio.CancelledError):
                        continue
                    if expected is None:
                        assert isinstance(ended[number], ModelRunFailed)
                    else:
                        assert ys([ended[number]]) == [expected]


@given(st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=40), st.integers(2, 40))
def test_each_gets_what_it_would_get_alone(requests, max_batch_rows):
    """Bad ones fail, and fail alone; nothing that leaves is larger than allowed."""

    async def run():
        it = model(max_batch_rows=max_batch_rows)
        mesh = await Mesh().known(it)
        answers = await together(mesh, [order(it, data) for data in requests])
        for data, answer in zip(requests, answers, strict=True):
            if BAD in data:
                assert isinstance(answer, ModelRunFailed)
            else:
                assert ys([answer]) == [bytes(byte + 1 for byte in data)]
        assert all(sent.tensors[0].shape[0] <= max(5, max_batch_rows) for sent in mesh.orders)

    asyncio.run(run())
