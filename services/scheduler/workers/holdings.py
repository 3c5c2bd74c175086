"""What one worker holds, as the scheduler knows it: events in, state out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from onnxmesh.ids import Digest, StageKey
from onnxmesh.v1.worker_pb2 import StageFailed, StageLoaded

MAX_BACKOFF_S = 60.0
"""The longest that a stage which failed on a worker is kept off it."""


class HoldingState(Enum):
    """Where a stage is on its way in or out."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"
    EVICTING = "EVICTING"


@dataclass(frozen=True, slots=True)
class Held:
    """One stage on one worker.

    Attributes:
        state: FAILED is not held at all; it is remembered so as not to try again at once.
        digest: Of the partition that is loaded, or was to be.
        reason: Why it failed: the reason of a mesh error.
        message: The same for people.
        failures: How often in a row.
        retry_s: When a failed one may be tried here again, on the caller's clock.
    """

    state: HoldingState
    digest: Digest
    reason: str = ""
    message: str = ""
    failures: int = 0
    retry_s: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it takes, or will take, room on the worker for good."""
        return self.state in {HoldingState.LOADING, HoldingState.READY}

    @property
    def is_absent(self) -> bool:
        """Whether nothing of it is on the worker."""
        return self.state is HoldingState.FAILED


class Holdings:
    """The stages of one worker: a fold of its events and of the commands it was sent."""

    def __init__(self) -> None:
        self._stages: dict[StageKey, Held] = {}

    @property
    def stages(self) -> dict[StageKey, Held]:
        """Every stage on its way in or out, and what failed; a copy."""
        return dict(self._stages)

    def rebuild(self, stages: Iterable[StageLoaded]) -> None:
        """Takes the worker's word for what it holds; what was under way is forgotten."""
        failed = {key: held for key, held in self._stages.items() if held.state is HoldingState.FAILED}
        loaded = {StageKey(stage.stage): Held(HoldingState.READY, Digest(stage.digest)) for stage in stages}
        self._stages = failed | loaded

    def placing(self, stage: StageKey, digest: Digest) -> None:
        """The worker was told to load a stage."""
        held = self._stages.get(stage)
        failures = held.failures if held is not None and held.digest == digest else 0
        self._stages[stage] = Held(HoldingState.LOADING, digest, failures=failures)

    def evicting(self, stage: StageKey) -> None:
        """The worker was told to let a stage go."""
        held = self._stages.get(stage)
        if held is not None:
            self._stages[stage] = replace(held, state=HoldingState.EVICTING)

    def loaded(self, event: StageLoaded) -> None:
        """The worker holds a stage; one that is to go stays on its way out."""
        held = self._stages.get(StageKey(event.stage))
        if held is None or held.state is not HoldingState.EVICTING:
            self._stages[StageKey(event.stage)] = Held(HoldingState.READY, Digest(event.digest))

    def failed(self, event: StageFailed, now_s: float) -> None:
        """The worker could not load a stage, or lost it; of one that is to go it still says that it went."""
        held = self._stages.get(StageKey(event.stage))
        if held is None or held.state is HoldingState.EVICTING:
            return
        failures = held.failures + 1
        self._stages[StageKey(event.stage)] = Held(
            HoldingState.FAILED,
            held.digest,
            reason=event.reason,
            message=event.message,
            failures=failures,
            retry_s=now_s + min(MAX_BACKOFF_S, 2.0**failures),
        )

    def evicted(self, stage: StageKey) -> None:
        """The worker let a stage go, told to or not."""
        held = self._stages.get(stage)
        if held is not None and held.state is not HoldingState.FAILED:
            del self._stages[stage]

    def remove_failures(self, desired: Collection[StageKey]) -> None:
        """Forgets what failed and is not desired any more."""
        for stage, held in list(self._stages.items()):
            if held.state is HoldingState.FAILED and stage not in desired:
                del self._stages[stage]
