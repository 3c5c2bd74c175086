"""Which stages this worker holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from onnxmesh.ids import Digest, StageKey
from onnxmesh.v1.worker_pb2 import StageLoaded
from services.worker.requests.stage_phase import StagePhase
from services.worker.stages.stage_runner import StageRunner


@dataclass(slots=True)
class HeldStage:
    """A stage on its way in, at work, or on its way out.

    Attributes:
        digest: Of its partition.
        state: Where it is.
        runner: What runs it; None while it loads.
        load_s: How long fetching and loading took.
    """

    digest: Digest
    state: StagePhase = StagePhase.LOADING
    runner: StageRunner | None = None
    load_s: float = 0.0


class StageTable:
    """Stages by key. An impossible step is a defect and raises."""

    def __init__(self) -> None:
        self._held: dict[StageKey, HeldStage] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __contains__(self, stage: StageKey) -> bool:
        return stage in self._held

    def get(self, stage: StageKey) -> HeldStage | None:
        """Returns what is known of a stage, None if it is not held."""
        return self._held.get(stage)

    def state(self, stage: StageKey) -> StagePhase | None:
        """Returns where a stage is, None if it is not held."""
        held = self._held.get(stage)
        return None if held is None else held.state

    def runners(self) -> list[StageRunner]:
        """Returns what runs here, stages on their way out included. May be asked from any thread."""
        return [held.runner for held in list(self._held.values()) if held.runner is not None]

    def loading(self, stage: StageKey, digest: Digest) -> None:
        """A stage begins to load."""
        self._expect(stage, None)
        self._held[stage] = HeldStage(digest)
        self._empty.clear()

    def ready(self, stage: StageKey, runner: StageRunner, load_s: float) -> None:
        """A stage that was loading takes requests from now on."""
        held = self._expect(stage, StagePhase.LOADING)
        held.state, held.runner, held.load_s = StagePhase.READY, runner, load_s

    def evicting(self, stage: StageKey) -> StageRunner:
        """A ready stage takes no more requests; returns its runner."""
        held = self._expect(stage, StagePhase.READY)
        held.state = StagePhase.EVICTING
        assert held.runner is not None
        return held.runner

    def gone(self, stage: StageKey) -> None:
        """A stage is no longer held, whatever it was."""
        self._held.pop(stage, None)
        if not self._held:
            self._empty.set()

    async def none_left(self) -> None:
        """Returns once nothing is held."""
        await self._empty.wait()

    def holding(self) -> list[StageLoaded]:
        """Returns the ready stages, as schedulers are told."""
        return [
            StageLoaded(stage=stage, digest=held.digest, load_s=held.load_s)
            for stage, held in self._held.items()
            if held.state is StagePhase.READY
        ]

    def _expect(self, stage: StageKey, state: StagePhase | None) -> HeldStage:
        held = self._held.get(stage)
        found = None if held is None else held.state
        if found is not state:
            raise RuntimeError(f"{stage} is {found}, expected {state}")
        return held if held is not None else HeldStage(Digest(""))
