"""What an operator can say about Consul, to any service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from onnxmesh.consul.access import ConsulAccess, split_address
from onnxmesh.discovery.consul_registrar import CheckKind
from onnxmesh.errors import InvalidRequest
from onnxmesh.service.serving import ServiceSettings


class ConsulSettings(ServiceSettings):
    """Settings of a service that can join a mesh through Consul."""

    consul: str | None = Field(
        None,
        description="[http[s]://]HOST[:PORT] of this machine's Consul agent; with it the mesh meets there",
    )
    consul_token: SecretStr = Field(
        SecretStr(""), description="ACL token for Consul; better given as ONNXMESH_CONSUL_TOKEN"
    )
    consul_datacenter: str = Field("", description="datacenter of the mesh; default: that of the agent")
    consul_ca: Path | None = Field(
        None, description="file of the authorities that may vouch for an https agent; default: the system's"
    )
    consul_cert: Path | None = Field(None, description="file of this service's certificate for Consul")
    consul_key: Path | None = Field(None, description="file of that certificate's key")
    consul_prefix: str = Field(
        "onnxmesh",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$",
        description="begins the names of services and keys, so that several meshes can share a Consul",
    )
    consul_check: CheckKind = Field(
        "grpc",
        description="grpc: the agent asks this service for its health; ttl: this service tells the agent",
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

    def consul_access(self) -> ConsulAccess | None:
        """Returns how Consul is reached; None for a mesh without."""
        if self.consul is None:
            return None
        scheme, host, port = split_address(self.consul)
        return ConsulAccess(
            host,
            port,
            scheme,
            self.consul_token.get_secret_value(),
            self.consul_datacenter,
            self.consul_ca,
            self.consul_cert,
            self.consul_key,
            self.consul_prefix,
        )
