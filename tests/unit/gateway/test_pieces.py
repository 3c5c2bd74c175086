"""Requests cut into micro-batches, and their answers put together."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.deadline import Deadline
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from services.gateway.batching.split_requests import join_outputs, rows_of, split_request
from services.gateway.requests.inference_request import InferenceRequest

datatypes = st.sampled_from([Datatype.UINT8, Datatype.FP16, Datatype.FP32, Datatype.INT64])
dims = st.lists(st.integers(0, 3), max_size=2)


@st.composite
def cut_requests(draw):
    rows = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    tensors = []
    for index in range(draw(st.integers(1, 3))):
        datatype, shape = draw(datatypes), (sum(rows), *draw(dims))
        size = datatype.bits // 8
        for dim in shape:
            size *= dim
        tensors.append(Tensor(f"t{index}", datatype, shape, draw(st.binary(min_size=size, max_size=size))))
    return tuple(tensors), rows


def order(tensors):
    return InferenceRequest(None, tensors, (), Deadline(inf), request_id="r", priority=3)


@given(cut_requests())
def test_what_was_cut_is_put_together_as_it_was(request):
    """Any types, shapes and sizes of pieces; the pieces are of one request and have all else of it."""
    tensors, rows = request
    assert rows_of(tensors) == sum(rows)
    pieces = split_request(order(tensors), rows, 7)
    assert [rows_of(piece.tensors) for piece in pieces] == rows
    assert {(piece.split_of, piece.request_id, piece.priority) for piece in pieces} == {(7, "r", 3)}
    together = join_outputs([piece.tensors for piece in pieces], rows, ())
    assert [(each.name, each.datatype, each.shape) for each in together] == [
        (each.name, each.datatype, each.shape) for each in tensors
    ]
    assert [bytes(each.data) for each in together] == [bytes(each.data) for each in tensors]


def test_what_all_rows_share_is_taken_once():
    """And not looked at row by row."""
    row, table = Tensor("y", Datatype.UINT8, (1, 1), b"a"), Tensor("table", Datatype.UINT8, (3,), b"123")
    y, shared = join_outputs([(row, table), (row, table)], [1, 1], {"table"})
    assert (y.shape, bytes(y.data)) == ((2, 1), b"aa")
    assert shared is table


def test_answers_that_are_no_rows_are_not_put_together():
    """Other numbers of rows, other dimensions, none."""
    good = Tensor("y", Datatype.UINT8, (2, 1), b"ab")
    for bad in (
        Tensor("y", Datatype.UINT8, (1, 1), b"a"),
        Tensor("y", Datatype.UINT8, (2, 2), b"abcd"),
        Tensor("y", Datatype.UINT8, (), b"a"),
        Tensor("y", Datatype.INT8, (2, 1), b"ab"),
    ):
        assert join_outputs([(good,), (bad,)], [2, 2], ()) is None


def test_tensors_that_do_not_agree_have_no_rows():
    """Neither have scalars: such a request goes whole, and the model says what is wrong."""
    one, two = Tensor("a", Datatype.UINT8, (1,), b"1"), Tensor("b", Datatype.UINT8, (2,), b"12")
    assert rows_of((one, two)) == 0
    assert rows_of((Tensor("c", Datatype.UINT8, (), b"1"),)) == 0
