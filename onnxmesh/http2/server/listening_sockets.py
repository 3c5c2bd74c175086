"""Listening sockets for HOST:PORT, with IPv4 and IPv6."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any

BACKLOG = 1_024
"""Connections that may wait to be accepted."""

_WILDCARD_HOSTS = ("0.0.0.0", "::", "")


def listening_sockets(address: str, *, shared: bool) -> list[socket.socket]:
    """Returns listening sockets for every address that the host's name has, all with the same port.

    The wildcard addresses `0.0.0.0` and `[::]` include IPv4 and, where the system has it, IPv6.

    Args:
        address: HOST:PORT; port 0: any free port.
        shared: Whether other processes may listen there too (SO_REUSEPORT).

    Raises:
        OSError: The address is in use, or none of this machine.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if host in _WILDCARD_HOSTS:
        with contextlib.suppress(OSError):
            return [_listening(socket.AF_INET6, ("::", int(port)), shared=shared, dual=True)]
        host = "0.0.0.0"
    found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, _, _, _, where in dict.fromkeys(found):
        chosen_port = sockets[0].getsockname()[1] if sockets else int(port)
        try:
            sockets.append(_listening(family, (where[0], chosen_port, *where[2:]), shared=shared))
        except OSError as error:
            # A name may have an address of a family that this machine does not have.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for each in sockets:
                    each.close()
                raise
            failure = error
    if not sockets:
        raise failure or OSError(f"no address of {host}")
    return sockets


def _listening(family: int, where: tuple[Any, ...], *, shared: bool, dual: bool = False) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual))
        listening.bind(where)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening
