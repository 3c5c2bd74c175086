"""Settings of a worker."""

from __future__ import annotations

import re
import socket
import uuid
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from onnxmesh.device.resources import has_dedicated_cores
from onnxmesh.service.settings.compression import CompressionSettings
from onnxmesh.service.settings.consul import ConsulSettings
from onnxmesh.service.settings.members import MemberSettings
from onnxmesh.service.settings.same_host import SameHostSettings
from onnxmesh.service.settings.service import usable_id


def _default_id() -> str:
    host = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()) or "host"
    return f"worker-{host[:80]}-{uuid.uuid4().hex[:8]}"


class WorkerSettings(ConsulSettings, MemberSettings, SameHostSettings, CompressionSettings):
    """Settings of a worker: flags, or environment variables ONNXMESH_<NAME>."""

    id: str = Field(default_factory=_default_id, description="name of this worker, unique in the mesh")
    tags: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="labels that selectors of deployments match, separated by commas"
    )
    threads: int | None = Field(
        None, ge=1, description="threads of each stage; default: the cores available to this process"
    )
    spinning: Literal["auto", "on", "off"] = Field(
        "auto",
        description="whether threads of a stage spin while they wait for each other; auto: only where CPU affinity gives "
        "this process cores of its own, since spinning takes them from others",
    )
    cache: Path | None = Field(
        None, description="folder for models; default: a temporary one, removed on exit"
    )
    shared_cache: bool = Field(
        False,
        description="share the cache folder among workers of this host: each one locks a subfolder of its own",
    )
    queue_size: int = Field(
        256, ge=1, description="requests that may be queued for a stage; more are refused"
    )
    waiting_bytes: int = Field(
        1 << 30,
        ge=1,
        description="bytes of request parts that may wait for their other parts at a stage; more are refused",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device that stages run on; auto: a GPU if there is one"
    )
    runs_at_once: int | None = Field(
        None,
        ge=1,
        description="concurrent runs of one stage; default: 2 on a GPU, so that one is copied while another is computed, "
        "else 1",
    )
    pinned_bytes: int = Field(
        256 << 20, ge=0, description="pinned host memory for copies to and from a GPU; 0: none"
    )
    measure: bool = Field(True, description="measure the speed of this worker at the start, for use in plans")

    @field_validator("id")
    @classmethod
    def _usable_id(cls, name: str) -> str:
        return usable_id(name)

    def spins(self, threads: int) -> bool:
        """Whether stages of so many threads spin."""
        return has_dedicated_cores(threads) if self.spinning == "auto" else self.spinning == "on"

    def place(self) -> dict[str, str]:
        """Returns the place of this worker; tags such as `zone=eu` count where no setting does."""
        from_tags = dict(tag.split("=", 1) for tag in self.tags if tag.startswith(("region=", "zone=")))
        return from_tags | super().place()

    @field_validator("tags", mode="before")
    @classmethod
    def _comma_list(cls, tags: object) -> object:
        if isinstance(tags, str):
            return tuple(tag.strip() for tag in tags.split(",") if tag.strip())
        return tags
