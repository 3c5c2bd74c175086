"""Error codes, against the libraries h2 and grpc."""

from __future__ import annotations

import grpc
import h2.errors
import pytest

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, GrpcStatus, StreamFault


def test_error_codes_are_those_of_http2():
    """By name and number."""
    assert {code.name: code.value for code in ErrorCode}.items() <= {
        code.name: code.value for code in h2.errors.ErrorCodes
    }.items()


def test_grpc_statuses_are_those_of_grpc():
    """By name and number."""
    assert {code.name: code.value for code in GrpcStatus}.items() <= {
        code.name: code.value[0] for code in grpc.StatusCode
    }.items()


def test_faults_carry_code_and_message():
    """Who handles connection errors and not stream errors ends the connection: never less than what is wrong."""
    for kind in (ConnectionFault, StreamFault):
        with pytest.raises(ConnectionFault, match=r"^too wide$") as fault:
            raise kind(ErrorCode.FLOW_CONTROL_ERROR, "too wide")
        assert (fault.value.code, fault.value.message) == (ErrorCode.FLOW_CONTROL_ERROR, "too wide")
