"""Errors of servicers over real sockets."""

from __future__ import annotations

import errno

import grpc
import grpc.aio
import pytest

from onnxmesh.errors import REASONS, Overloaded
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.rpc.grpc.status import from_rpc_error


class Raising(grpc.GenericRpcHandler):
    """Raises an error from each of the four kinds of method."""

    def __init__(self, error):
        async def unary(request, context):
            raise error

        async def collect(requests, context):
            await _received(requests)
            raise error

        async def stream(request, context):
            yield b"first"
            raise error

        async def written(requests, context):
            await _received(requests)
            await context.write(b"first")
            raise error

        self.methods = {
            "/test/unary": grpc.unary_unary_rpc_method_handler(unary),
            "/test/collect": grpc.stream_unary_rpc_method_handler(collect),
            "/test/stream": grpc.unary_stream_rpc_method_handler(stream),
            "/test/chat": grpc.stream_stream_rpc_method_handler(written),
        }

    def service(self, details):
        return self.methods.get(details.method)


async def _received(requests):
    # A client that still writes to an ended call gets INTERNAL from gRPC instead of the status of the call.
    async for _ in requests:
        pass


async def call(error, method):
    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    server.add_generic_rpc_handlers((Raising(error),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                if method == "/test/unary":
                    await channel.unary_unary(method)(b"")
                elif method == "/test/collect":
                    await channel.stream_unary(method)(iter([b""]))
                elif method == "/test/stream":
                    assert [answer async for answer in channel.unary_stream(method)(b"")]
                else:
                    assert [answer async for answer in channel.stream_stream(method)(iter([b""]))]
            return caught.value
    finally:
        await server.stop(None)


@pytest.mark.parametrize("method", ["/test/unary", "/test/collect", "/test/stream", "/test/chat"])
@pytest.mark.parametrize("kind", REASONS.values())
async def test_error_interceptor_sends_every_mesh_error(kind, method):
    """A client rebuilds class, message and code of the raised error, for any kind of method."""
    error = await call(kind("expected 4, got 5"), method)
    assert error.code() == kind.code
    again = from_rpc_error(error)
    assert type(again) is kind
    assert again.message == "expected 4, got 5"


@pytest.mark.parametrize("method", ["/test/unary", "/test/stream", "/test/chat"])
async def test_error_interceptor_masks_unexpected_errors(method, capsys):
    """The message is only logged; the client gets an incident id."""
    error = await call(ValueError("secret"), method)
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    incident = error.details().split("incident ")[1].split(":")[0]
    logged = capsys.readouterr()
    assert incident in logged.out + logged.err


@pytest.mark.parametrize("method", ["/test/unary", "/test/stream", "/test/chat"])
async def test_error_interceptor_reports_a_full_disk(method):
    """As a retriable error: another service may have space."""
    again = from_rpc_error(await call(OSError(errno.ENOSPC, "No space left on device", "/cache/a"), method))
    assert isinstance(again, Overloaded)
    assert again.retriable
    assert again.message == "no space is left on the disk: /cache/a"
