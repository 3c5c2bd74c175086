"""What an operator can set of a gateway."""

from __future__ import annotations

import uuid

from pydantic import Field, field_validator

from onnxmesh.rpc.channel import MAX_MESSAGE_BYTES
from onnxmesh.service import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Settings of a gateway: flags, or environment variables ONNXMESH_<NAME>."""

    listen: str = Field(
        "127.0.0.1:8001", description="HOST:PORT to serve clients on; port 0 takes a free one"
    )
    id: str = Field(
        default_factory=lambda: f"gateway-{uuid.uuid4().hex[:8]}",
        min_length=1,
        description="name of this gateway in the mesh; default: gateway- and eight random digits",
    )
    scheduler: str = Field(description="HOST:PORT of the scheduler; need not be up yet")
    max_message_bytes: int = Field(
        MAX_MESSAGE_BYTES, ge=1024, le=MAX_MESSAGE_BYTES, description="largest request or answer"
    )
    default_timeout_s: float = Field(
        300.0, gt=0, allow_inf_nan=False, description="deadline of requests that come without one"
    )
    max_in_flight: int = Field(
        1024, ge=1, description="requests that may run at once; one more is refused as RESOURCE_EXHAUSTED"
    )
    region: str = Field("", description="where this gateway is: workers of its own region are near")
    zone: str = Field("", description="where this gateway is: workers of its own zone take all they can")
    max_attempts: int = Field(3, ge=1, le=100, description="routes that are tried for one request")

    @field_validator("scheduler")
    @classmethod
    def _scheduler_address(cls, address: str) -> str:
        host, colon, port = address.rpartition(":")
        if not host or not colon or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"expected HOST:PORT, got '{address}'")
        return address
