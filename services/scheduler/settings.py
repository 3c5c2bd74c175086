"""Settings of a scheduler."""

from __future__ import annotations

import uuid
from pathlib import Path

from pydantic import Field, field_validator

from onnxmesh.service.settings.live import LiveSettings
from onnxmesh.service.settings.service import usable_id
from services.scheduler.leadership.leader_settings import LeaderSettings
from services.scheduler.placement.moves import SETTLE_S

STOP_GRACE_S = 0.5
"""Longest wait for open calls when the server stops: its streams never end by themselves, and peers reopen them."""


class SchedulerSettings(LiveSettings):
    """Settings of a scheduler: flags, or environment variables ONNXMESH_<NAME>."""

    id: str = Field(
        default_factory=lambda: f"scheduler-{uuid.uuid4().hex[:8]}",
        description="name of this scheduler in its group; default: scheduler- and eight random digits",
    )
    state: Path = Field(
        Path("onnxmesh-state"), description="folder with what must outlive the scheduler; one scheduler each"
    )
    deploy_timeout_s: float = Field(
        600.0, gt=0, description="seconds that a deploy may take after its upload"
    )
    max_upload_bytes: int = Field(
        2**40, gt=0, description="the most bytes that the files of one deploy may have"
    )
    registration_silence_s: float = Field(
        3.0, gt=0, description="seconds without a heartbeat after which a worker or gateway is removed"
    )
    settle_s: float = Field(
        3.0,
        ge=0,
        description="seconds that workers get to reconnect after a restart before their stages are placed elsewhere",
    )
    profile_s: float = Field(
        2.0,
        ge=0,
        description="seconds that a worker may spend on measuring the nodes of a model at deploy; 0: estimates only",
    )
    replan_after_s: float = Field(
        10.0,
        ge=0,
        description="seconds without a worker joining or leaving after which models are replanned",
    )
    move_after_s: float = Field(
        SETTLE_S,
        ge=0,
        description="seconds that a worker must have been in the mesh before stages move to it from others",
    )
    linger_s: float = Field(
        5.0,
        ge=0,
        description="seconds that stages stay loaded after another plan is in force, for requests under way",
    )

    @field_validator("id")
    @classmethod
    def _usable_id(cls, name: str) -> str:
        return usable_id(name)

    def for_leader(self) -> LeaderSettings:
        """Returns the times and limits that a leader decides by."""
        return LeaderSettings(
            settle_s=self.settle_s,
            move_after_s=self.move_after_s,
            replan_after_s=self.replan_after_s,
            linger_s=self.linger_s,
            deploy_timeout_s=self.deploy_timeout_s,
            profile_s=self.profile_s,
            max_upload_bytes=self.max_upload_bytes,
        )

    def stop_grace_s(self) -> float:
        """Returns how long the server waits for open calls when it stops."""
        return min(STOP_GRACE_S, self.drain_s)
