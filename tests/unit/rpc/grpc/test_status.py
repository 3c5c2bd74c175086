"""Errors over the wire and back."""

from __future__ import annotations

import errno

import grpc
import grpc.aio
import pytest

from onnxmesh.errors import REASONS, MeshError, Overloaded, TooLarge
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.rpc.grpc.status import from_rpc_error


class Raising(grpc.GenericRpcHandler):
    """Raises what it is given, from each of the four kinds of method."""

    def __init__(self, error):
        async def unary(request, context):
            raise error

        async def stream(request, context):
            yield b"first"
            raise error

        async def written(request, context):
            await context.write(b"first")
            raise error

        self.methods = {
            "/test/unary": grpc.unary_unary_rpc_method_handler(unary),
            "/test/collect": grpc.stream_unary_rpc_method_handler(unary),
            "/test/stream": grpc.unary_stream_rpc_method_handler(stream),
            "/test/chat": grpc.stream_stream_rpc_method_handler(written),
        }

    def service(self, details):
        return self.methods.get(details.method)


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
async def test_every_error_survives_the_wire(kind, method):
    """A client gets the class, the text and the code that the servicer raised, from any kind of method."""
    error = await call(kind("expected 4, got 5"), method)
    assert error.code() == kind.code
    again = from_rpc_error(error)
    assert type(again) is kind
    assert again.message == "expected 4, got 5"


async def test_the_retry_delay_survives_the_wire():
    """RetryInfo carries when to come back."""
    again = from_rpc_error(await call(Overloaded("full", retry_after_s=1.5), "/test/unary"))
    assert isinstance(again, Overloaded)
    assert again.retry_after_s == 1.5


@pytest.mark.parametrize("method", ["/test/unary", "/test/stream", "/test/chat"])
async def test_an_unexpected_error_is_masked(method, capsys):
    """The text of a defect stays in the log; the client gets an incident id alone."""
    error = await call(ValueError("secret"), method)
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    incident = error.details().split("incident ")[1].split(":")[0]
    logged = capsys.readouterr()
    assert incident in logged.out + logged.err


@pytest.mark.parametrize("method", ["/test/unary", "/test/stream", "/test/chat"])
async def test_a_full_disk_is_told_as_what_it_is(method):
    """No defect and no secret; another service may have space."""
    again = from_rpc_error(await call(OSError(errno.ENOSPC, "No space left on device", "/cache/a"), method))
    assert isinstance(again, Overloaded)
    assert again.retriable
    assert again.message == "no space is left on the disk: /cache/a"


async def test_an_error_of_grpc_itself_becomes_the_nearest_class():
    """A status without ErrorInfo is judged by its code."""
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), grpc.aio.Metadata(), details="too large"
    )
    assert isinstance(from_rpc_error(error), TooLarge)
    assert isinstance(from_rpc_error(error), MeshError)
