"""What an operator can say to a worker."""

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

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def _default_id() -> str:
    host = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()) or "host"
    return f"worker-{host[:80]}-{uuid.uuid4().hex[:8]}"


class WorkerSettings(ConsulSettings, MemberSettings, SameHostSettings, CompressionSettings):
    """Settings of a worker: flags, or environment variables ONNXMESH_<NAME>."""

    id: str = Field(default_factory=_default_id, description="name of this worker, unique in the mesh")
    tags: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="words by which deployments choose workers, separated by commas"
    )
    threads: int | None = Field(
        None, ge=1, description="threads of each stage; default: the cores that this process was given"
    )
    spinning: Literal["auto", "on", "off"] = Field(
        "auto",
        description="whether threads of a stage spin while they wait for each other; auto: where this process has cores "
        "of its own by affinity, for else other workers lose them",
    )
    cache: Path | None = Field(
        None, description="folder for models; default: a temporary one, removed at the end"
    )
    shared_cache: bool = Field(
        False, description="workers of this host share the folder: each takes a part of it that no other uses"
    )
    queue_size: int = Field(
        256, ge=1, description="requests that may wait for a stage; beyond, they are refused"
    )
    waiting_bytes: int = Field(
        1 << 30,
        ge=1,
        description="bytes that may wait for the rest of their requests at a stage; beyond, they are refused",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="what stages run on; auto: a GPU if there is one"
    )
    runs_at_once: int | None = Field(
        None,
        ge=1,
        description="runs of one stage that may be under way at a time; default: 2 on a GPU, so that one is copied while "
        "another is computed, else 1",
    )
    pinned_bytes: int = Field(
        256 << 20, ge=0, description="host memory that a GPU may read and write by itself; 0: none"
    )
    measure: bool = Field(
        True, description="measure at the start how fast this worker is, so that plans can count on it"
    )

    @field_validator("id")
    @classmethod
    def _usable_id(cls, name: str) -> str:
        if not _ID.fullmatch(name):
            raise ValueError("an id has up to 128 letters, digits and '._:-', a letter or digit first")
        return name

    def spins(self, threads: int) -> bool:
        """Whether stages of so many threads are to spin."""
        return has_dedicated_cores(threads) if self.spinning == "auto" else self.spinning == "on"

    def place(self) -> dict[str, str]:
        """Returns where this worker is; what is not set may be said by tags such as `zone=eu`."""
        said = dict(tag.split("=", 1) for tag in self.tags if tag.startswith(("region=", "zone=")))
        return said | super().place()

    @field_validator("tags", mode="before")
    @classmethod
    def _comma_list(cls, tags: object) -> object:
        if isinstance(tags, str):
            return tuple(tag.strip() for tag in tags.split(",") if tag.strip())
        return tags
