"""Requests and results, split and joined along their first dimension."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.deadline import Deadline
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from services.gateway.batching.request_rows import (
    join_outputs,
    join_requests,
    num_rows,
    split_request,
    split_result,
)
from services.gateway.requests.inference_request import InferenceRequest, InferenceResult
from services.gateway.requests.request_options import RequestOptions

datatypes = st.sampled_from([Datatype.UINT8, Datatype.FP16, Datatype.FP32, Datatype.INT64])
dims = st.lists(st.integers(0, 3), max_size=2)


@st.composite
def split_requests(draw):
    rows = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    tensors = []
    for index in range(draw(st.integers(1, 3))):
        datatype, shape = draw(datatypes), (sum(rows), *draw(dims))
        size = datatype.bits // 8
        for dim in shape:
            size *= dim
        tensors.append(Tensor(f"t{index}", datatype, shape, draw(st.binary(min_size=size, max_size=size))))
    return tuple(tensors), rows


def new_request(tensors, deadline_s=inf):
    return InferenceRequest(
        None, tensors, (), Deadline(deadline_s), request_id="r", options=RequestOptions(priority=3)
    )


@given(split_requests())
def test_join_outputs_restores_the_tensors_of_split_request(request):
    """Any types, shapes and sizes; the micro-batches have all else of their request."""
    tensors, rows = request
    assert num_rows(tensors) == sum(rows)
    parts = split_request(new_request(tensors), rows, 7)
    assert [num_rows(part.tensors) for part in parts] == rows
    assert {(part.split_of, part.request_id, part.options.priority) for part in parts} == {(7, "r", 3)}
    together = join_outputs([part.tensors for part in parts], rows, ())
    assert [(each.name, each.datatype, each.shape) for each in together] == [
        (each.name, each.datatype, each.shape) for each in tensors
    ]
    assert [bytes(each.data) for each in together] == [bytes(each.data) for each in tensors]


def test_join_outputs_returns_a_shared_output_once():
    """Whatever its shape."""
    row, table = Tensor("y", Datatype.UINT8, (1, 1), b"a"), Tensor("table", Datatype.UINT8, (3,), b"123")
    y, shared = join_outputs([(row, table), (row, table)], [1, 1], {"table"})
    assert (y.shape, bytes(y.data)) == ((2, 1), b"aa")
    assert shared is table


def test_join_outputs_refuses_outputs_without_one_row_for_each_row():
    """Other numbers of rows, other dimensions, none."""
    good = Tensor("y", Datatype.UINT8, (2, 1), b"ab")
    for bad in (
        Tensor("y", Datatype.UINT8, (1, 1), b"a"),
        Tensor("y", Datatype.UINT8, (2, 2), b"abcd"),
        Tensor("y", Datatype.UINT8, (), b"a"),
        Tensor("y", Datatype.INT8, (2, 1), b"ab"),
    ):
        assert join_outputs([(good,), (bad,)], [2, 2], ()) is None


def test_num_rows_is_zero_for_tensors_that_differ_in_it():
    """And for scalars: such a request is run whole."""
    one, two = Tensor("a", Datatype.UINT8, (1,), b"1"), Tensor("b", Datatype.UINT8, (2,), b"12")
    assert num_rows((one, two)) == 0
    assert num_rows((Tensor("c", Datatype.UINT8, (), b"1"),)) == 0


def test_join_requests_concatenates_rows_and_takes_the_earliest_deadline():
    """All else is that of the first request."""
    requests = [
        new_request((Tensor("x", Datatype.UINT8, (len(data), 1), data),), deadline_s)
        for data, deadline_s in ((b"ab", 9.0), (b"c", 5.0))
    ]
    joined = join_requests(requests, 3)
    (tensor,) = joined.tensors
    assert (tensor.shape, tensor.data, joined.deadline.at_s) == ((3, 1), b"abc", 5.0)
    assert joined.options is requests[0].options


def test_join_requests_and_split_request_start_without_failures():
    """What a request failed with before does not belong to the ones derived from it."""
    request = new_request((Tensor("x", Datatype.UINT8, (2, 1), b"ab"),))
    request.failures.append("failed")
    derived = [join_requests([request], 2), *split_request(request, [1, 1], 7)]
    assert [each.failures for each in derived] == [[], [], []]


def test_split_result_gives_each_request_its_rows_and_the_shared_outputs():
    """None where an output has not one row for each row of the input."""
    y, table = Tensor("y", Datatype.UINT8, (3, 1), b"abc"), Tensor("table", Datatype.UINT8, (3,), b"123")
    one, two = split_result(InferenceResult((y, table), None), [2, 1], {"table"})
    assert [bytes(each.tensors[0].data) for each in (one, two)] == [b"ab", b"c"]
    assert one.tensors[1] is two.tensors[1] is table
    assert split_result(InferenceResult((y,), None), [2, 2], {"table"}) is None
