"""A port that several processes of one parent serve."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

_RETRY_S = 0.05


@asynccontextmanager
async def claimed_port(address: str, *, alone: bool, patience_s: float) -> AsyncIterator[str]:
    """Keeps a port for the processes that this one starts, for the time of the context.

    The port is bound here and never listened to, so that it stays theirs while all of them are away. They open it with SO_REUSEPORT.

    Args:
        address: HOST:PORT; port 0 takes a free one.
        alone: Nobody but those processes may have it; else any process of this user may open it in the same way.
        patience_s: How long a port is waited for that processes of this user are sharing, as those of a parent that was
            killed do until they have ended.

    Yields:
        HOST:PORT with the port that it got.

    Raises:
        SystemExit: The port cannot be had.
    """
    with await _claim(address, alone=alone, patience_s=patience_s) as claim:
        yield f"{address.rpartition(':')[0]}:{claim.getsockname()[1]}"


async def _claim(address: str, *, alone: bool, patience_s: float) -> socket.socket:
    end_s = monotonic() + patience_s
    while True:
        try:
            return _bound(address, alone=alone)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or monotonic() > end_s or not _is_shared(address):
                raise SystemExit(f"cannot listen on {address}: {error.strerror or error}") from error
        await asyncio.sleep(_RETRY_S)


def _bound(address: str, *, alone: bool) -> socket.socket:
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, name = found[0]
    claim = socket.socket(family, kind, protocol)
    try:
        # Connections of a process that has ended do not keep the port.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(not alone))
        claim.bind(name)
        # Only from now on, so that the port was nobody else's.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        claim.close()
        raise
    return claim


def _is_shared(address: str) -> bool:
    """Whether those who have a port let processes of this user in."""
    try:
        _bound(address, alone=False).close()
    except OSError:
        return False
    return True
