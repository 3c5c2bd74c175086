"""Validation of HOST:PORT addresses. Pure."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]):([0-9]{1,5})")
"""A name, an IPv4 address, or an IPv6 address in brackets (RFC 3986, section 3.2.2); then the port."""
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^/]*).*", re.DOTALL)
_SECURE = frozenset({"https", "grpcs"})
_GATEWAY_PORT = 8001
"""The gateway's port unless another one is configured."""


def host_and_port(address: str, usual_port: int = _GATEWAY_PORT) -> str:
    """Returns `address` unchanged, if it is a HOST:PORT.

    Args:
        address: What a person has given.
        usual_port: The port that the message proposes where there is none.

    Raises:
        ValueError: It is not; the message has what is wrong, and for a URL the address in it.
    """
    if not _is_address(address):
        raise ValueError(f"expected HOST:PORT, got '{address}'{_cure(address, usual_port)}")
    return address


def _is_address(text: str) -> bool:
    found = _ADDRESS.fullmatch(text)
    return found is not None and int(found[1]) <= 65535


def _cure(address: str, usual_port: int) -> str:
    """Returns what helps, after a wrong address; an empty text if that is not clear."""
    if url := _SCHEME.fullmatch(address):
        plain = ", and connections are not encrypted" if url["scheme"].lower() in _SECURE else ""
        tried = (url["rest"], f"{url['rest']}:{usual_port}")
        usable = next((f"; try {each}" for each in tried if _is_address(each)), "")
        return f": a URL is not expected{plain}{usable}"
    host, colon, port = address.rpartition(":")
    if _is_address(f"[{host}]:{port}") or _is_address(f"{address}:1"):
        if ":" in address:
            return f": an IPv6 address is in brackets, as in [::1]:{usual_port}"
        return "" if address.isdecimal() else f": the port is missing, as in {address}:{usual_port}"
    return ": a port is at most 65535" if host and colon and port.isdecimal() and int(port) > 65535 else ""
