"""Validation of HOST:PORT addresses. Pure."""

from __future__ import annotations


def host_and_port(address: str) -> str:
    """Returns `address` unchanged, if it is a HOST:PORT.

    Raises:
        ValueError: It is not.
    """
    host, colon, port = address.rpartition(":")
    if not host or not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"expected HOST:PORT, got '{address}'")
    return address
