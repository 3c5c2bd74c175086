"""How a Consul agent is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from onnxmesh.errors import InvalidRequest

DEFAULT_PORT = 8500
"""Where an agent listens if its address does not say."""


@dataclass(frozen=True, slots=True)
class ConsulAccess:
    """Address and credentials of a Consul agent.

    Attributes:
        host: Name or address of the agent.
        port: Port of its HTTP API.
        scheme: `http` or `https`.
        token: ACL token; empty for none.
        datacenter: Where services and keys are looked up and written; empty for the agent's own.
        ca: File of the authorities that may vouch for the agent; None for the system's.
        cert: File of this process's certificate; None for none.
        key: File of its key.
        prefix: Begins the names of services and keys, so that several meshes can share a Consul.
        timeout_s: How long the agent may take for an answer, beyond what a blocking query waits.
        wait_s: How long a blocking query waits for a change.
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
        """The agent's address, for people."""
        return f"{self.scheme}://{self.host}:{self.port}"


def split_address(address: str) -> tuple[str, str, int]:
    """Returns scheme, host and port of `[http[s]://]HOST[:PORT]`.

    Raises:
        InvalidRequest: It is something else (INVALID_ARGUMENT).
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
