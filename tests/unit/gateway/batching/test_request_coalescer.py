"""Small requests that are coalesced: without a dispatcher."""

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
        self.requests = []
        self.rows_answered = None
        self.coalescer = RequestCoalescer(self)

    async def infer(self, request):
        (tensor,) = request.tensors
        data = bytes(tensor.data)
        self.requests.append(request)
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
        return InferenceResult(tensors, Trace.of(0.0, 1, [hop], sent_unix_ns=0, received_unix_ns=0))

    async def known(self, model):
        """The mesh has answered a request once: what a row takes is known."""
        await self.coalescer.infer(new_request(model, b"\0"))
        self.requests.clear()
        return self


def new_request(model, data, *, row=1, **more):
    tensor = Tensor("x", Datatype.UINT8, (len(data) // row, row), data)
    return InferenceRequest(model, (tensor,), (), more.pop("deadline", Deadline(math.inf)), **more)


def ys(results):
    return [bytes(result.tensors[0].data) for result in results]


async def together(mesh, requests):
    return await asyncio.gather(*(mesh.coalescer.infer(each) for each in requests), return_exceptions=True)


async def test_coalescer_runs_requests_of_one_iteration_as_one():
    """With the earliest deadline; each request gets its rows, and the outputs that all rows share."""
    it = model()
    mesh = await Mesh().known(it)
    requests = [
        new_request(it, b"\1\2", deadline=Deadline(9.0)),
        new_request(it, b"\3", deadline=Deadline(5.0)),
        new_request(it, b"\4"),
    ]
    results = await together(mesh, requests)
    assert ys(results) == [b"\2\3", b"\4", b"\5"]
    assert [result.tensors[0].shape for result in results] == [(2, 1), (1, 1), (1, 1)]
    assert all(result.tensors[1].data == b"abc" for result in results)
    (sent,) = mesh.requests
    assert (sent.tensors[0].shape, sent.deadline.at_s) == ((4, 1), 5.0)


async def test_coalescer_passes_a_single_request_on_as_it_is():
    """It does not wait for others."""
    it = model()
    mesh = await Mesh().known(it)
    lonely = new_request(it, b"\1")
    assert ys(await together(mesh, [lonely])) == [b"\2"]
    assert mesh.requests[0] is lonely


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (lambda it: (new_request(it, b"\1"), new_request(it, b"\1\2", row=2)), "rows differ"),
        (lambda it: (new_request(it, b"\1"), new_request(it, bytes(MAX_BYTES + 1))), "too many bytes"),
        (lambda it: (new_request(it, b"\1"), new_request(it, bytes(32))), "too many rows"),
        (lambda it: (new_request(it, b"\1"), new_request(it, b"\1", traceparent="00-1")), "it is traced"),
        (lambda it: (new_request(it, b"\1"), new_request(it, b"")), "no row at all"),
    ],
)
async def test_coalescer_runs_unlike_and_large_requests_alone(pair, why):
    """Two requests of one iteration, two runs."""
    it = model()
    mesh = await Mesh().known(it)
    await together(mesh, pair(it))
    assert len(mesh.requests) == 2, why


@pytest.mark.parametrize(
    ("model", "row_ns"), [(model(splitting=False), 1), (model(), 1_000_000), (model(max_batch_rows=1), 1)]
)
async def test_coalescer_runs_requests_alone_where_the_model_gains_nothing_or_forbids_it(model, row_ns):
    """No rows by the deploy's check, long runs, or a limit of one row."""
    mesh = await Mesh(row_ns).known(model)
    await together(mesh, [new_request(model, b"\1"), new_request(model, b"\2")])
    assert len(mesh.requests) == 2


async def test_coalescer_runs_requests_alone_before_a_row_was_measured():
    """A model may be anything until then."""
    it = model()
    mesh = Mesh()
    await together(mesh, [new_request(it, b"\1"), new_request(it, b"\2")])
    assert len(mesh.requests) == 2


async def test_coalescer_runs_requests_again_where_the_result_has_not_one_row_for_each():
    """Each request is then run alone."""
    it = model()
    mesh = await Mesh().known(it)
    mesh.rows_answered = 1
    results = await together(mesh, [new_request(it, b"\1"), new_request(it, b"\2")])
    assert ys(results) == [b"\2", b"\3"]
    assert len(mesh.requests) == 3


async def test_coalescer_survives_the_cancellation_of_any_request():
    """Whichever request is cancelled, before or during dispatch; also where the other requests have to be run again."""
    it = model()
    mesh = await Mesh().known(it)
    for data in (b"\1", bytes([BAD])):
        for leaving in range(3):
            for num_iterations in range(5):
                tasks = [
                    asyncio.create_task(mesh.coalescer.infer(new_request(it, each)))
                    for each in (data, b"\2", b"\3")
                ]
                for _ in range(num_iterations):
                    await asyncio.sleep(0)
                tasks[leaving].cancel()
                ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 300)
                for number, expected in enumerate((None if data[0] == BAD else b"\2", b"\3", b"\4")):
                    if number == leaving and isinstance(ended[number], asyncio.CancelledError):
                        continue
                    if expected is None:
                        assert isinstance(ended[number], ModelRunFailed)
                    else:
                        assert ys([ended[number]]) == [expected]


@given(st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=40), st.integers(2, 40))
def test_coalescer_returns_what_each_request_returns_alone(requests, max_batch_rows):
    """Bad ones fail, and fail alone; nothing that leaves is larger than allowed."""

    async def run():
        it = model(max_batch_rows=max_batch_rows)
        mesh = await Mesh().known(it)
        results = await together(mesh, [new_request(it, data) for data in requests])
        for data, result in zip(requests, results, strict=True):
            if BAD in data:
                assert isinstance(result, ModelRunFailed)
            else:
                assert ys([result]) == [bytes(byte + 1 for byte in data)]
        assert all(sent.tensors[0].shape[0] <= max(5, max_batch_rows) for sent in mesh.requests)

    asyncio.run(run())
