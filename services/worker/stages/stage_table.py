"""Table of the stages that this worker holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from onnxmesh.ids import Digest, StageKey
from onnxmesh.v1.worker_pb2 import StageLoaded
from services.worker.requests.stage_phase import StagePhase
from services.worker.stages.stage_runner import StageRunner


@dataclass(slots=True)
class HeldStage:
    """A stage that is loading, ready or being evicted.

    Attributes:
        digest: Of its partition.
        phase: Its phase.
        runner: Runs it; None while it is loading.
        load_s: Seconds that fetching and loading took.
    """

    digest: Digest
    phase: StagePhase = StagePhase.LOADING
    runner: StageRunner | None = None
    load_s: float = 0.0


class StageTable:
    """Stages by key, LOADING → READY → EVICTING; an impossible transition raises `RuntimeError`."""

    def __init__(self) -> None:
        self._held: dict[StageKey, HeldStage] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __contains__(self, stage: StageKey) -> bool:
        return stage in self._held

    def get(self, stage: StageKey) -> HeldStage | None:
        """Returns a held stage; None if it is not held."""
        return self._held.get(stage)

    def phase(self, stage: StageKey) -> StagePhase | None:
        """Returns the phase of a stage; None if it is not held."""
        held = self._held.get(stage)
        return None if held is None else held.phase

    def runners(self) -> list[StageRunner]:
        """Returns the runners, those of stages being evicted included. Thread-safe."""
        return [held.runner for held in list(self._held.values()) if held.runner is not None]

    def add_loading(self, stage: StageKey, digest: Digest) -> None:
        """Adds a stage that begins to load."""
        self._expect(stage, None)
        self._held[stage] = HeldStage(digest)
        self._empty.clear()

    def mark_ready(self, stage: StageKey, runner: StageRunner, load_s: float) -> None:
        """Marks a loading stage as ready for requests."""
        held = self._expect(stage, StagePhase.LOADING)
        held.phase, held.runner, held.load_s = StagePhase.READY, runner, load_s

    def mark_evicting(self, stage: StageKey) -> StageRunner:
        """Marks a ready stage as being evicted; returns its runner."""
        held = self._expect(stage, StagePhase.READY)
        held.phase = StagePhase.EVICTING
        assert held.runner is not None
        return held.runner

    def remove(self, stage: StageKey) -> None:
        """Removes a stage, whatever its phase."""
        self._held.pop(stage, None)
        if not self._held:
            self._empty.set()

    async def wait_empty(self) -> None:
        """Returns once no stage is held."""
        await self._empty.wait()

    def holding(self) -> list[StageLoaded]:
        """Returns the ready stages as events for schedulers."""
        return [
            StageLoaded(stage=stage, digest=held.digest, load_s=held.load_s)
            for stage, held in self._held.items()
            if held.phase is StagePhase.READY
        ]

    def _expect(self, stage: StageKey, phase: StagePhase | None) -> HeldStage:
        held = self._held.get(stage)
        found = None if held is None else held.phase
        if found is not phase:
            raise RuntimeError(f"{stage} is {found}, expected {phase}")
        return held if held is not None else HeldStage(Digest(""))
