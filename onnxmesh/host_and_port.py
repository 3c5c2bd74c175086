"""Validation of HOST:PORT addresses. Pure."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]):([0-9]{1,5})")
"""A name, an IPv4 address, or an IPv6 address in brackets (RFC 3986, section 3.2.2); then the port."""


def host_and_port(address: str) -> str:
    """Returns `address` unchanged, if it is a HOST:PORT.

    Raises:
        ValueError: It is not.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found[1]) > 65535:
        raise ValueError(f"expected HOST:PORT, got '{address}'")
    return address
