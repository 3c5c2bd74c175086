"""What an operator can say about large tensors that a process sends to other hosts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from onnxmesh.service.serving import ServiceSettings


class CompressionSettings(ServiceSettings):
    """Settings of a service that sends tensors."""

    compression: Literal["auto", "off"] = Field(
        "auto",
        description="send large tensors to other hosts in fewer bytes where the measured way makes that faster; off: always "
        "as they are. What others send so is read either way",
    )
