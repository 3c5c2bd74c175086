"""Settings of the connection to Consul."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from onnxmesh.consul.access import ConsulAccess, split_address
from onnxmesh.discovery.consul_service import CheckKind
from onnxmesh.errors import InvalidRequest
from onnxmesh.service.settings.service import ServiceSettings

_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")


class ConsulSettings(ServiceSettings):
    """Settings of a service that can join a mesh through Consul."""

    consul: str | None = Field(
        None,
        description="[http[s]://]HOST[:PORT] of this machine's Consul agent, which is then the registry of the mesh",
    )
    consul_token: SecretStr = Field(
        SecretStr(""), description="ACL token for Consul; better given as ONNXMESH_CONSUL_TOKEN"
    )
    consul_datacenter: str = Field("", description="datacenter of the mesh; default: that of the agent")
    consul_ca: Path | None = Field(
        None, description="file of the certificate authorities of an https agent; default: the system's"
    )
    consul_cert: Path | None = Field(None, description="file of this service's certificate for Consul")
    consul_key: Path | None = Field(None, description="file of that certificate's key")
    consul_prefix: str = Field(
        "onnxmesh",
        description="prefix of the names of services and keys, so that several meshes can share a Consul",
    )
    consul_check: CheckKind = Field(
        "grpc",
        description="health check; grpc: the agent calls the health service; ttl: this service sends heartbeats",
    )

    @field_validator("consul")
    @classmethod
    def _consul_address(cls, address: str | None) -> str | None:
        if address is None:
            return None
        try:
            split_address(address)
        except InvalidRequest as error:
            raise ValueError(error.message) from error
        return address

    @field_validator("consul_prefix")
    @classmethod
    def _consul_name(cls, prefix: str) -> str:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(
                f"expected up to 42 lower-case letters, digits and dashes, no dash at an end, got {prefix!r}"
            )
        return prefix

    def consul_access(self) -> ConsulAccess | None:
        """Returns address and credentials of Consul; None for a mesh without it."""
        if self.consul is None:
            return None
        scheme, host, port = split_address(self.consul)
        return ConsulAccess(
            host=host,
            port=port,
            scheme=scheme,
            token=self.consul_token.get_secret_value(),
            datacenter=self.consul_datacenter,
            ca=self.consul_ca,
            cert=self.consul_cert,
            key=self.consul_key,
            prefix=self.consul_prefix,
        )
