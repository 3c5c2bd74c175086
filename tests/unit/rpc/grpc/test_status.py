"""Mesh errors as gRPC statuses, and back."""

from __future__ import annotations

import base64
from urllib.parse import quote

import grpc
import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.error_text import listed
from onnxmesh.errors import Internal, MeshError, NotFound, Overloaded, TooLarge, Unavailable
from onnxmesh.rpc.grpc.status import MAX_RETRY_AFTER_S, from_rpc_error, to_status


def received(status, *, details=None):
    """The error of a call that ended with a status."""
    trailing = (
        grpc.aio.Metadata(*status.trailing_metadata) if status.trailing_metadata else grpc.aio.Metadata()
    )
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailing, details or status.details)


@pytest.mark.parametrize("error", [NotFound("no model m"), Overloaded("full", retry_after_s=1.5)])
def test_from_rpc_error_rebuilds_what_to_status_wrote(error):
    """Class, message and retry delay."""
    rebuilt = from_rpc_error(received(to_status(error)))
    assert type(rebuilt) is type(error)
    assert (rebuilt.message, rebuilt.retry_after_s) == (error.message, error.retry_after_s)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, TooLarge),
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.ABORTED, Internal),
    ],
)
def test_from_rpc_error_uses_the_code_of_a_status_without_details(code, kind):
    """The nearest class; the message of gRPC itself, or the name of the code."""
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="why")
    assert type(from_rpc_error(error)) is kind
    assert from_rpc_error(error).message == "why"
    no_details = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())
    assert from_rpc_error(no_details).message == code.name


def wire_bytes(status):
    """What the trailers of a status take as headers of HTTP/2: the text percent-encoded, the details in base64."""
    details = b"".join(value for _, value in status.trailing_metadata)
    return len(quote(status.details)) + len(base64.b64encode(details))


@pytest.mark.parametrize("letter", ["a", "é", "\0", "\u20ac", "\U0001f600"])
def test_to_status_keeps_the_trailers_below_what_clients_take(letter):
    """Clients of gRPC lose the status of a call with more than 8 KiB of trailers."""
    names = listed(letter * 50 + str(index) for index in range(10_000))
    error = Overloaded(f"unknown model '{letter * 100_000}': deployed models are {names}", retry_after_s=1.0)
    assert wire_bytes(to_status(error)) < 5 << 10


@pytest.mark.parametrize("delay_s", [-1.0, float("nan"), float("inf"), 1e300])
def test_to_status_takes_any_retry_delay(delay_s):
    """None of them may hide the error that it belongs to."""
    rebuilt = from_rpc_error(received(to_status(Overloaded("full", retry_after_s=delay_s))))
    assert 0 <= rebuilt.retry_after_s <= MAX_RETRY_AFTER_S


@pytest.mark.parametrize(
    ("delay_s", "sent_s"), [(-1.0, 0.0), (float("nan"), 0.0), (float("inf"), MAX_RETRY_AFTER_S)]
)
def test_to_status_takes_a_delay_that_is_no_number_for_none(delay_s, sent_s):
    """A client must not wait a day for an error of arithmetic."""
    rebuilt = from_rpc_error(received(to_status(Overloaded("full", retry_after_s=delay_s))))
    assert rebuilt.retry_after_s == sent_s


def any_status():
    """Statuses of peers and proxies, of any code, with details that are right, cut short or nonsense."""
    url = st.sampled_from(
        ["type.googleapis.com/google.rpc.ErrorInfo", "type.googleapis.com/google.rpc.RetryInfo", "nonsense"]
    )
    info = ErrorInfo(reason="NOT_FOUND", domain="onnxmesh").SerializeToString()
    content = st.one_of(st.binary(max_size=20), st.just(info), st.just(info[:-1]))
    detail = st.builds(Any, type_url=url, value=content)
    return st.builds(
        Status,
        code=st.integers(-(2**31), 2**31 - 1) | st.integers(0, 17),
        message=st.text(st.characters(codec="utf-8"), max_size=10),
        details=st.lists(detail, max_size=3),
    ).map(Status.SerializeToString)


def rpc_errors():
    """Failed calls with any code, text and trailers."""
    value = st.one_of(any_status(), st.binary(max_size=30), st.text(max_size=5))
    key = st.sampled_from(["grpc-status-details-bin", "retry-pushback-ms", "other-bin"])
    return st.builds(
        lambda code, details, trailing: grpc.aio.AioRpcError(code, None, trailing, details),
        st.sampled_from([*grpc.StatusCode, None]),
        st.none() | st.text(max_size=10),
        st.none() | st.lists(st.tuples(key, value), max_size=3).map(lambda all_: grpc.aio.Metadata(*all_)),
    )


@given(rpc_errors())
def test_from_rpc_error_raises_nothing_out_whatever_a_peer_sent(error):
    """The result is a mesh error with the status and message of the call."""
    found = from_rpc_error(error)
    assert isinstance(found, MeshError)
    assert found.message


def test_from_rpc_error_ignores_details_of_another_status():
    """A proxy that changed the status left the details of the first one."""
    details = to_status(NotFound("no model m")).trailing_metadata
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.RESOURCE_EXHAUSTED, None, grpc.aio.Metadata(*details), "metadata larger than 8192"
    )
    found = from_rpc_error(error)
    assert (type(found), found.message) == (TooLarge, "metadata larger than 8192")
