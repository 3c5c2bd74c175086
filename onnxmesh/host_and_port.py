"""Validation of HOST:PORT addresses. Pure."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^/]*).*", re.DOTALL)
_SECURE = frozenset({"https", "grpcs", "rediss"})
_USUAL_PORT = 8001
"""The gateway's port unless another one is configured."""


def host_and_port(address: str) -> str:
    """Returns `address` unchanged, if it is a HOST:PORT.

    Raises:
        ValueError: It is not; the message has what is wrong, and for a URL the address in it.
    """
    if not _is_address(address):
        raise ValueError(f"expected HOST:PORT, got '{address}'{_cure(address)}")
    return address


def _cure(address: str) -> str:
    """Returns what helps, after a wrong address; an empty text if that is not clear."""
    if url := _SCHEME.fullmatch(address):
        host = url["rest"] if _is_address(url["rest"]) else f"{url['rest']}:{_USUAL_PORT}"
        plain = ", and connections are not encrypted" if url["scheme"].lower() in _SECURE else ""
        return f": a URL is not expected{plain}" + (f"; try {host}" if _is_address(host) else "")
    host, colon, port = address.rpartition(":")
    if "]" in port or (host.count(":") and not host.startswith("[")):
        return f": an IPv6 address is in brackets, as in [::1]:{_USUAL_PORT}"
    if not colon and address and not address.isdecimal() and not re.search(r"[\s/]", address):
        return f": the port is missing, as in {address}:{_USUAL_PORT}"
    if host and port.isdecimal():
        return ": a port is at most 65535"
    return ""


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    plain_host = host.startswith("[") and host.endswith("]") if ":" in host else bool(host)
    return plain_host and bool(colon) and port.isdecimal() and int(port) <= 65535
