"""Settings of a gateway."""

from __future__ import annotations

import uuid
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from onnxmesh.device.resources import available_cores
from onnxmesh.host_and_port import host_and_port
from onnxmesh.rpc.grpc.channel import MAX_MESSAGE_BYTES
from onnxmesh.service.settings.compression import CompressionSettings
from onnxmesh.service.settings.live import LiveSettings
from onnxmesh.service.settings.members import MemberSettings
from onnxmesh.service.settings.same_host import SameHostSettings
from services.gateway.routes.session_affinity import DEFAULT_TTL_S

MAX_PROCESSES = 256
"""More than the cores of any host."""


class GatewaySettings(LiveSettings, MemberSettings, SameHostSettings, CompressionSettings):
    """Settings of a gateway: flags, or environment variables ONNXMESH_<NAME>."""

    listen: str = Field(
        "127.0.0.1:8001", description="HOST:PORT to serve clients on; port 0 takes a free one"
    )
    shared_listen: str | None = Field(
        None,
        description="HOST:PORT to serve clients on as well, together with other gateways of this host or pod: each new "
        "connection goes to one of them",
    )
    edge: Literal["http2", "grpc"] = Field(
        "http2",
        description="what answers clients. http2: an edge of our own for inference, in front of gRPC's server; grpc: that "
        "server alone, at several times the processor time for each request",
    )
    processes: int = Field(
        1,
        description="processes that serve the port together, each a gateway of its own; auto: one for each core that "
        "this process was given",
    )
    id: str = Field(
        default_factory=lambda: f"gateway-{uuid.uuid4().hex[:8]}",
        min_length=1,
        description="name of this gateway in the mesh; default: gateway- and eight random digits",
    )
    max_message_bytes: int = Field(
        MAX_MESSAGE_BYTES, ge=1024, le=MAX_MESSAGE_BYTES, description="largest request or answer"
    )
    gzip_from_bytes: int | None = Field(
        None,
        ge=1024,
        description="answers of at least so many bytes are compressed by gzip for clients that accept it (with the edge http2); default: "
        "none are, for a mebibyte takes 7 to 16 ms, and most numbers hardly become shorter",
    )
    default_timeout_s: float = Field(
        300.0, gt=0, allow_inf_nan=False, description="deadline of requests that come without one"
    )
    max_in_flight: int = Field(
        1024, ge=1, description="requests that may run at once; one more is refused as RESOURCE_EXHAUSTED"
    )
    session_ttl_s: float = Field(
        DEFAULT_TTL_S,
        gt=0,
        description="seconds without a request after which a session may go anywhere again",
    )
    max_attempts: int = Field(3, ge=1, le=100, description="routes that are tried for one request")
    gathering: bool = Field(
        True,
        description="send small requests that come together on as one, where they may run together and compute little",
    )
    micro_batches: bool = Field(
        True,
        description="cut requests with many rows into micro-batches that several stages work on at once, where that "
        "changes no more than batching does and was measured to be faster",
    )

    @field_validator("processes", mode="before")
    @classmethod
    def _num_processes(cls, value: object) -> object:
        if value == "auto":
            return available_cores()
        if not str(value).isdecimal() or not 1 <= int(str(value)) <= MAX_PROCESSES:
            raise ValueError(f"expected a number from 1 to {MAX_PROCESSES}, or auto, got {value!r}")
        return value

    @field_validator("shared_listen")
    @classmethod
    def _shared_address(cls, address: str | None) -> str | None:
        return None if address is None else host_and_port(address)

    @model_validator(mode="after")
    def _some_scheduler(self) -> Self:
        if self.scheduler is None and self.consul is None:
            raise ValueError(
                "the address of a scheduler, or of Consul to find one, is required: --scheduler HOST:PORT "
                "(ONNXMESH_SCHEDULER) or --consul HOST (ONNXMESH_CONSUL)"
            )
        return self
