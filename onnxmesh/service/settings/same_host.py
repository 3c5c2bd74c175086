"""Settings of the exchange of tensors between processes of one host."""

from __future__ import annotations

from pydantic import Field

from onnxmesh.service.settings.service import ServiceSettings


class SameHostSettings(ServiceSettings):
    """Settings of a service with links to peers."""

    same_host: bool = Field(
        True,
        description="exchange tensors with processes of this host through a Unix socket and shared memory, "
        "where both may, rather than through the network",
    )
