"""Address and credentials of a Consul agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from onnxmesh.errors import InvalidRequest

DEFAULT_PORT = 8500
"""Default port of an agent's HTTP API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulAccess:
    """Address and credentials of a Consul agent.

    Attributes:
        host: Name or address of the agent.
        port: Port of its HTTP API.
        scheme: `http` or `https`.
        token: ACL token; empty for none.
        datacenter: Datacenter of services and keys; empty for the agent's own.
        ca: File of the trusted certificate authorities; None for the system's.
        cert: File of this process's certificate; None for none.
        key: File of the certificate's private key.
        prefix: Prefix of the names of services and keys, so that several meshes can share a Consul.
        timeout_s: Time-out of a call, beyond the wait of a blocking query.
        wait_s: Longest wait of a blocking query.
    """

    host: str
    port: int = DEFAULT_PORT
    scheme: str = "http"
    token: str = field(default="", repr=False)
    datacenter: str = ""
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    prefix: str = "onnxmesh"
    timeout_s: float = 3.0
    wait_s: float = 10.0

    @property
    def address(self) -> str:
        """The agent's address for messages."""
        return f"{self.scheme}://{self.host}:{self.port}"


def split_address(address: str) -> tuple[str, str, int]:
    """Returns scheme, host and port of `[http[s]://]HOST[:PORT]`.

    Raises:
        InvalidRequest: The address is malformed (INVALID_ARGUMENT).
    """
    parts = urlsplit(address if "//" in address else f"http://{address}")
    try:
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        port = 0
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port or rest:
        raise InvalidRequest(f"expected a Consul agent as [http[s]://]HOST[:PORT], got '{address}'")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts.scheme, host, port
