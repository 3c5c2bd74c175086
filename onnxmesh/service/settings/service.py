"""Settings of every service: addresses, locality, logs, metrics."""

from __future__ import annotations

import re
import socket

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from onnxmesh.host_and_port import host_and_port
from onnxmesh.service.logs import LogFormat, LogLevel

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


class ServiceSettings(BaseSettings):
    """Settings of every service: flags, or environment variables ONNXMESH_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix="ONNXMESH_",
        frozen=True,
        extra="ignore",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_enforce_required=False,
        cli_hide_none_type=True,
    )

    listen: str = Field("127.0.0.1:0", description="HOST:PORT to listen on; port 0 uses a free one")
    advertise: str | None = Field(
        None,
        description="HOST:PORT at which peers reach this service; port 0 stands for the port that it listens on; default: "
        "the address that it listens on, with the name of this host if it listens on every address",
    )
    region: str = Field("", description="region of this service: a set of zones")
    zone: str = Field("", description="zone of this service: a failure domain with a fast network")
    drain_s: float = Field(
        10.0, ge=0, description="seconds that running requests have when the service stops"
    )
    log_format: LogFormat = Field("auto", description="auto: text on a terminal, JSON elsewhere")
    log_level: LogLevel = Field("info", description="least level that is logged")
    metrics: str | None = Field(
        None,
        description="HOST:PORT of the HTTP server of Prometheus metrics; port 0 uses a free one; default: none",
    )
    ready_line: bool = Field(
        True, description="print a line with the address to standard output when the service is ready"
    )
    exit_with_parent: bool = Field(False, description="stop when standard input ends")

    @field_validator("listen", "advertise", "metrics")
    @classmethod
    def _host_and_port(cls, address: str | None) -> str | None:
        return None if address is None else host_and_port(address)

    def place(self) -> dict[str, str]:
        """Returns the locality of this service as attributes of its registration: `host`, and region and zone if set."""
        known = {"region": self.region, "zone": self.zone, "host": socket.gethostname()}
        return {name: value for name, value in known.items() if value}


def usable_id(name: str) -> str:
    """Returns the id of a worker or scheduler unchanged, if others can use it in keys and paths.

    Raises:
        ValueError: It has other characters, or too many.
    """
    if not _ID.fullmatch(name):
        raise ValueError(
            f"expected up to 128 letters, digits and '._:-', a letter or digit first, got {name[:140]!r}"
        )
    return name
