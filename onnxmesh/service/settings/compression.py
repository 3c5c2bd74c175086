"""Settings of the compression of large tensors on links to other hosts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from onnxmesh.service.settings.service import ServiceSettings


class CompressionSettings(ServiceSettings):
    """Settings of a service that sends tensors."""

    compression: Literal["auto", "off"] = Field(
        "auto",
        description="compress large tensors to other hosts where the measured link makes that faster; off: never. "
        "Compressed tensors from peers are read either way",
    )
