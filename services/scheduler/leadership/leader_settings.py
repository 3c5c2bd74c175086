"""Times and limits that a leader decides by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderSettings:
    """Times and limits that a leader decides by.

    Attributes:
        settle_s: Longest wait after a start for the workers that hold what was deployed before.
        move_after_s: No stage moves to a worker that joined more recently than this.
        replan_after_s: How long the workers must have been the same before models are replanned.
        linger_s: How long replaced stages stay loaded.
        deploy_timeout_s: How long a deploy may take after its upload.
        profile_s: How long a worker may measure the nodes of a model; 0: costs are estimated.
        max_upload_bytes: Most bytes that the files of one deploy may have.
    """

    settle_s: float
    move_after_s: float
    replan_after_s: float
    linger_s: float
    deploy_timeout_s: float
    profile_s: float
    max_upload_bytes: int
