"""Listening sockets, dialled by gRPC's client."""

from __future__ import annotations

import socket

import grpc
import grpc.aio
import pytest

from onnxmesh.http2.server.server import Http2Server


async def echo(message, _):
    return message


async def unimplemented(call):
    call.end(grpc.StatusCode.UNIMPLEMENTED, "unimplemented")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.mark.parametrize(
    ("listens", "dialled"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("localhost", ["localhost", "127.0.0.1"]),
        ("0.0.0.0", ["127.0.0.1", "localhost"]),
        pytest.param("[::1]", ["[::1]"], marks=needs_ipv6),
        pytest.param("[::]", ["127.0.0.1", "[::1]"], marks=needs_ipv6),
        pytest.param("0.0.0.0", ["127.0.0.1", "[::1]"], marks=needs_ipv6),
    ],
)
async def test_listening_sockets_accept_every_kind_of_address(listens, dialled):
    """Names, IPv4, IPv6, and wildcards, each with one port."""
    server = Http2Server(unimplemented)
    server.add("/a/b", echo)
    port = server.listen(f"{listens}:0")
    await server.start()
    try:
        for host in dialled:
            async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
                assert await channel.unary_unary("/a/b")(b"a", timeout=30, wait_for_ready=True) == b"a"
    finally:
        await server.stop(0)


async def test_listening_sockets_share_an_address_only_if_both_agree():
    """It is free again once the server has stopped."""
    first, second = Http2Server(unimplemented), Http2Server(unimplemented)
    port = first.listen("127.0.0.1:0")
    for shared in (False, True):
        with pytest.raises(OSError, match="in use"):
            second.listen(f"127.0.0.1:{port}", shared=shared)
    with pytest.raises(OSError, match="assign"):
        second.listen("203.0.113.1:0")
    await first.start()
    await first.stop(0)
    assert second.listen(f"127.0.0.1:{port}", shared=True) == port
    third = Http2Server(unimplemented)
    assert third.listen(f"127.0.0.1:{port}", shared=True) == port
    await second.stop(0)
    await third.stop(0)
