"""What an operator can say about processes of one host."""

from __future__ import annotations

from pydantic import Field

from onnxmesh.service.serving import ServiceSettings


class SameHostSettings(ServiceSettings):
    """Settings of a service that has streams to others."""

    same_host: bool = Field(
        True,
        description="exchange tensors with processes of this host through a Unix socket and shared memory, "
        "where both may, rather than through the network",
    )
