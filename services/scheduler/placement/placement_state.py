"""Placement state: who holds what while a decision is being made. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxmesh.ids import ModelKey, StageKey, WorkerId
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.worker_columns import WorkerColumns
from services.scheduler.workers.holdings import Held, HoldingState
from services.scheduler.workers.memory import MemoryBook
from services.scheduler.workers.worker_view import WorkerView

LEAST_COST_S = 0.001
"""Least time that a stage counts as work, so that no worker is crowded with small stages."""

_READ_BYTES_PER_NS = 10.0


@dataclass(frozen=True, slots=True)
class StageCommand:
    """A stage to be loaded, or to be evicted, by a worker."""

    worker: WorkerId
    stage: StageKey


class PlacementState:
    """Desired stages and their holders, changed by `load` and `unload`. A worker is identified by its index in `columns`.

    Args:
        desired: Every desired stage.
        workers: Every worker that accepts commands.
        now_s: The time, on the clock of the workers.

    Attributes:
        desired: By key, sorted.
        columns: The workers.
        holders: For each desired stage the workers that hold or load it, and are not leaving.
        leaving_holders: The same of workers that are leaving.
        remnants: For each desired stage the workers with something of it that does not count: evicting, or failed.
        num_stages: Number of stages that each worker holds, those being evicted left out.
        work_ns: Time that a request of each of these stages takes, together.
        memory: The memory that they, and those being evicted, leave.
        place: Stages to load.
        evict: Stages to evict.
        loading: Whether stages are being loaded.
        freeing: Whether stages are being evicted.
    """

    def __init__(self, desired: Iterable[DesiredStage], workers: Iterable[WorkerView], now_s: float) -> None:
        self.desired = {stage.key: stage for stage in sorted(desired, key=lambda stage: stage.key)}
        self.columns = WorkerColumns(workers)
        self.now_s = now_s
        self.holders: dict[StageKey, list[int]] = {key: [] for key in self.desired}
        self.leaving_holders: dict[StageKey, list[int]] = {}
        self.remnants: dict[StageKey, list[int]] = {}
        self.num_stages: NDArray[np.int64] = np.zeros(len(self.columns), np.int64)
        self.work_ns: NDArray[np.int64] = np.zeros(len(self.columns), np.int64)
        self.memory = MemoryBook((view.id, view.attributes) for view in self.columns.views)
        self.place: list[StageCommand] = []
        self.evict: list[StageCommand] = []
        self.loading = self.freeing = False
        self._alike: defaultdict[tuple[ModelKey, int], Counter[int]] = defaultdict(Counter)
        self._pipelines: defaultdict[tuple[ModelKey, int], dict[int, DesiredStage]] = defaultdict(dict)
        for stage in self.desired.values():
            self._pipelines[stage.model, stage.revision][stage.position] = stage
        self._sort_out()

    def held(self, worker: int, key: StageKey) -> Held | None:
        """Returns what a worker has, or had, of a stage."""
        return self.columns.views[worker].stages.get(key)

    def is_ready(self, worker: int, key: StageKey) -> bool:
        """Whether a worker serves a stage."""
        held = self.held(worker, key)
        return held is not None and held.state is HoldingState.READY

    def is_due(self, worker: int, stage: DesiredStage) -> bool:
        """Whether a stage that failed on a worker may be tried there again now."""
        held = self.held(worker, stage.key)
        return (
            held is not None
            and held.state is HoldingState.FAILED
            and (held.digest != stage.digest or held.retry_s <= self.now_s)
        )

    def num_alike(self, stage: DesiredStage) -> Counter[int]:
        """Returns how many stages of the same plan each worker has."""
        return self._alike[stage.model, stage.revision]

    def neighbours(self, stage: DesiredStage) -> tuple[DesiredStage | None, DesiredStage | None]:
        """Returns the stage before and the one after."""
        pipeline = self._pipelines[stage.model, stage.revision]
        return pipeline.get(stage.position - 1), pipeline.get(stage.position + 1)

    def num_in_pipeline(self, stage: DesiredStage) -> int:
        """Returns how many stages its plan has."""
        return len(self._pipelines[stage.model, stage.revision])

    def in_zones(self, stage: DesiredStage) -> NDArray[np.intp]:
        """Returns how many replicas of a stage each zone has."""
        zones = self.columns.zones[self.holders[stage.key]]
        return np.bincount(zones, minlength=self.columns.num_zones)

    def on_hosts(self, stage: DesiredStage) -> NDArray[np.intp]:
        """Returns how many replicas of a stage each host has."""
        hosts = self.columns.hosts[self.holders[stage.key]]
        return np.bincount(hosts, minlength=self.columns.num_hosts)

    def at_homes(self, stage: DesiredStage) -> Counter[int]:
        """Returns how many replicas of a stage the workers of each of its homes have."""
        return Counter(self.columns.homes(stage.homes)[self.holders[stage.key]].tolist())

    def load(self, worker: int, stage: DesiredStage) -> None:
        """Loads a stage on a worker."""
        self.place.append(StageCommand(self.columns.ids[worker], stage.key))
        self._hold(worker, stage)

    def unload(self, worker: int, stage: DesiredStage) -> None:
        """Evicts a stage from a worker; it keeps its memory until the eviction ends."""
        self.evict.append(StageCommand(self.columns.ids[worker], stage.key))
        self.freeing = True
        self.remnants.setdefault(stage.key, []).append(worker)
        if worker in self.leaving_holders.get(stage.key, ()):
            self.leaving_holders[stage.key].remove(worker)
        else:
            self.holders[stage.key].remove(worker)
            self._count(worker, stage, -1)

    @contextmanager
    def without(self, worker: int, stage: DesiredStage) -> Iterator[None]:
        """Removes a stage from a worker for the time of the context, all but its memory."""
        holders = self.holders[stage.key]
        place = holders.index(worker)
        del holders[place]
        self._count(worker, stage, -1)
        try:
            yield
        finally:
            holders.insert(place, worker)
            self._count(worker, stage, 1)

    def _sort_out(self) -> None:
        """Keeps desired stages where they are, and evicts the rest."""
        for index, view in enumerate(self.columns.views):
            for key, held in sorted(view.stages.items()):
                self.loading |= held.state is HoldingState.LOADING
                self.freeing |= held.state is HoldingState.EVICTING
                stage = self.desired.get(key)
                if held.counts and stage is not None and self._is_right(index, stage, held):
                    if view.leaving:
                        self.leaving_holders.setdefault(key, []).append(index)
                        self.memory.take(index, stage.peak_bytes)
                    else:
                        self._hold(index, stage)
                    continue
                if held.counts:
                    self.evict.append(StageCommand(view.id, key))
                    self.freeing = True
                if stage is not None:
                    self.remnants.setdefault(key, []).append(index)
                    if held.state is HoldingState.EVICTING:
                        self.memory.take(index, stage.peak_bytes)

    def _is_right(self, worker: int, stage: DesiredStage, held: Held) -> bool:
        return held.digest == stage.digest and bool(
            self.columns.eligible(stage.require, stage.cpu_class)[worker]
        )

    def _hold(self, worker: int, stage: DesiredStage) -> None:
        self.holders[stage.key].append(worker)
        self.memory.take(worker, stage.peak_bytes)
        self._count(worker, stage, 1)

    def _count(self, worker: int, stage: DesiredStage, by: int) -> None:
        self.num_stages[worker] += by
        self.work_ns[worker] += by * cost_ns(stage)
        self._alike[stage.model, stage.revision][worker] += by


def cost_ns(stage: DesiredStage) -> int:
    """Returns the work that a request of a stage counts as: a whole number, so that sums are exact."""
    read_ns = stage.weight_bytes / _READ_BYTES_PER_NS if not stage.cost_s else 0.0
    return round(max(stage.cost_s, LEAST_COST_S) * 1e9 + read_ns)
