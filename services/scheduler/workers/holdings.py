"""Holdings: the stages of one worker, as the scheduler knows them. Events in, state out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from onnxmesh.ids import Digest, StageKey
from onnxmesh.v1.worker_pb2 import StageFailed, StageLoaded

MAX_BACKOFF_S = 60.0
"""Longest wait before a stage that failed on a worker is placed there again."""


class HoldingState(Enum):
    """The state of a stage on a worker."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"
    EVICTING = "EVICTING"


@dataclass(frozen=True, slots=True)
class Held:
    """One stage on one worker.

    Attributes:
        state: FAILED: nothing of it is held; kept so that it is not tried again at once.
        digest: Digest of the partition that is loaded, or was to be.
        reason: Why it failed: the reason of a mesh error.
        message: The same for people.
        failures: Failures in a row.
        retry_s: When a failed stage may be placed here again, on the caller's clock.
    """

    state: HoldingState
    digest: Digest
    reason: str = ""
    message: str = ""
    failures: int = 0
    retry_s: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it uses, or will use, memory of the worker until it is evicted."""
        return self.state in {HoldingState.LOADING, HoldingState.READY}

    @property
    def is_absent(self) -> bool:
        """Whether nothing of it is on the worker."""
        return self.state is HoldingState.FAILED


class Holdings:
    """The stages of one worker: a fold over its events and the commands that it was sent."""

    def __init__(self) -> None:
        self._stages: dict[StageKey, Held] = {}

    @property
    def stages(self) -> dict[StageKey, Held]:
        """Every stage that is loading, ready, failed or evicting; a copy."""
        return dict(self._stages)

    def rebuild(self, stages: Iterable[StageLoaded]) -> None:
        """Replaces what is known by what the worker reports that it holds; only failures are kept."""
        failed = {key: held for key, held in self._stages.items() if held.state is HoldingState.FAILED}
        loaded = {StageKey(stage.stage): Held(HoldingState.READY, Digest(stage.digest)) for stage in stages}
        self._stages = failed | loaded

    def placing(self, stage: StageKey, digest: Digest) -> None:
        """Records the command to load a stage."""
        held = self._stages.get(stage)
        failures = held.failures if held is not None and held.digest == digest else 0
        self._stages[stage] = Held(HoldingState.LOADING, digest, failures=failures)

    def evicting(self, stage: StageKey) -> None:
        """Records the command to evict a stage."""
        held = self._stages.get(stage)
        if held is not None:
            self._stages[stage] = replace(held, state=HoldingState.EVICTING)

    def loaded(self, event: StageLoaded) -> None:
        """Records that the worker holds a stage; one that is being evicted stays so."""
        held = self._stages.get(StageKey(event.stage))
        if held is None or held.state is not HoldingState.EVICTING:
            self._stages[StageKey(event.stage)] = Held(HoldingState.READY, Digest(event.digest))

    def failed(self, event: StageFailed, now_s: float) -> None:
        """Records that the worker failed to load a stage, or lost it; of one that is being evicted the eviction is still to come."""
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
        """Records that the worker evicted a stage, whether commanded or not."""
        held = self._stages.get(stage)
        if held is not None and held.state is not HoldingState.FAILED:
            del self._stages[stage]

    def remove_failures(self, desired: Collection[StageKey]) -> None:
        """Removes failures of stages that are not desired any more."""
        for stage, held in list(self._stages.items()):
            if held.state is HoldingState.FAILED and stage not in desired:
                del self._stages[stage]
