"""A port that several processes share, opened twice in this process."""

from __future__ import annotations

import socket

import pytest

from services.gateway.port_claim import claimed_port


def opened(address, *, reuse_port):
    host, _, port = address.rpartition(":")
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(reuse_port))
        listener.bind((host, int(port)))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


async def test_claimed_port_is_shared_by_so_reuseport_alone():
    """A free port is taken; a process that does not share it cannot open it."""
    async with claimed_port("127.0.0.1:0", exclusive=True, wait_s=0.0) as address:
        assert not address.endswith(":0")
        with opened(address, reuse_port=True), opened(address, reuse_port=True):
            pass
        with pytest.raises(OSError, match="in use"):
            opened(address, reuse_port=False)
    opened(address, reuse_port=False).close()


async def test_claimed_port_refuses_a_port_that_is_in_use():
    """At once where it is not shared, else after `wait_s`; a claim that is not exclusive may share it."""
    async with claimed_port("127.0.0.1:0", exclusive=True, wait_s=0.0) as address:
        with pytest.raises(SystemExit, match=f"cannot listen on {address}: "):
            await claimed_port(address, exclusive=True, wait_s=0.0).__aenter__()
        async with claimed_port(address, exclusive=False, wait_s=0.0) as shared:
            assert shared == address
    with opened(address, reuse_port=False), pytest.raises(SystemExit, match="cannot listen"):
        await claimed_port(address, exclusive=True, wait_s=60.0).__aenter__()
