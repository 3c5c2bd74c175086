"""Settings of the schedulers that a service registers with."""

from __future__ import annotations

from pydantic import Field, field_validator

from onnxmesh.host_and_port import host_and_port
from onnxmesh.service.settings.service import ServiceSettings

_SCHEDULER_PORT = 8010
"""That of the images; a scheduler has no other usual one."""


class MemberSettings(ServiceSettings):
    """Settings of a service that registers with schedulers."""

    scheduler: str | None = Field(
        None,
        description="HOST:PORT of the scheduler, or of several, separated by commas; they need not be up yet; "
        "with Consul they are discovered there; with neither a worker waits for a scheduler to connect",
    )

    @field_validator("scheduler")
    @classmethod
    def _scheduler_addresses(cls, addresses: str | None) -> str | None:
        if addresses is not None:
            _address_list(addresses)
        return addresses

    @property
    def schedulers(self) -> tuple[str, ...]:
        """The addresses of the configured schedulers."""
        return () if self.scheduler is None else _address_list(self.scheduler)


def _address_list(addresses: str) -> tuple[str, ...]:
    """Returns the addresses; raises ValueError if one of them is no HOST:PORT, or there is none."""
    return tuple(host_and_port(address.strip(), _SCHEDULER_PORT) for address in addresses.split(","))
