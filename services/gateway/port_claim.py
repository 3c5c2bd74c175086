"""A port that several processes of one parent serve by SO_REUSEPORT."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

_CLAIM_RETRY_S = 0.05


@asynccontextmanager
async def claimed_port(address: str, *, exclusive: bool, wait_s: float) -> AsyncIterator[str]:
    """Reserves a port for the processes that this one starts, for the time of the context.

    The port is bound here and never listened to, so that it stays reserved while none of them runs. They open it with
    SO_REUSEPORT.

    Args:
        address: HOST:PORT; port 0 takes a free one.
        exclusive: Whether only those processes may open it; else any process of this user may do so in the same way.
        wait_s: How long to wait for a port that processes of this user share, as those of a parent that was killed do until
            they have ended.

    Yields:
        HOST:PORT with the reserved port.

    Raises:
        SystemExit: The port cannot be opened.
    """
    with await _claim(address, exclusive=exclusive, wait_s=wait_s) as claim:
        yield f"{address.rpartition(':')[0]}:{claim.getsockname()[1]}"


async def _claim(address: str, *, exclusive: bool, wait_s: float) -> socket.socket:
    end_s = monotonic() + wait_s
    while True:
        try:
            return _bound(address, exclusive=exclusive)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or monotonic() > end_s or not _is_shared(address):
                raise SystemExit(f"cannot listen on {address}: {error.strerror or error}") from error
        await asyncio.sleep(_CLAIM_RETRY_S)


def _bound(address: str, *, exclusive: bool) -> socket.socket:
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, name = found[0]
    claim = socket.socket(family, kind, protocol)
    try:
        # Connections of a process that has ended do not block the port.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(not exclusive))
        claim.bind(name)
        # Only from now on, so that the port was not shared with another process before.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        claim.close()
        raise
    return claim


def _is_shared(address: str) -> bool:
    """Whether the processes that have a port share it with those of this user."""
    try:
        _bound(address, exclusive=False).close()
    except OSError:
        return False
    return True
