"""Ejections as choosers tell them each other: what one decided, the others take up. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.stage_board import StageBoard


class EjectionWatcher(Protocol):
    """Is told of what this chooser decides itself."""

    def ejected(self, stage: StageKey, worker: WorkerId, until_s: float) -> None:
        """Takes that a replica is kept out of routes until then."""
        ...

    def released(self, stage: StageKey) -> None:
        """Takes that every ejection of a stage has ended: nobody else was left."""
        ...


class Ejections:
    """Who is kept out of routes, from here and from elsewhere.

    Args:
        boards: What is known of each stage; belongs to the balancer.
    """

    def __init__(self, boards: Mapping[StageKey, StageBoard]) -> None:
        self._boards = boards
        self._watchers: list[EjectionWatcher] = []

    def watch(self, watcher: EjectionWatcher) -> None:
        """Has somebody told of everything that is decided here from now on."""
        self._watchers.append(watcher)

    def eject(self, stage: StageKey, worker: WorkerId, until_s: float) -> None:
        """Carries out what the stage's outliers have decided."""
        board = self._boards[stage]
        if (index := board.index(worker)) is not None:
            board.eject(index, until_s)
        for watcher in self._watchers:
            watcher.ejected(stage, worker, until_s)

    def release(self, stage: StageKey) -> None:
        """Ends every ejection of a stage."""
        self._boards[stage].release()
        for watcher in self._watchers:
            watcher.released(stage)

    def told(self, stage: StageKey, worker: WorkerId, until_s: float, why: str, now_s: float) -> bool:
        """Takes up what another chooser has decided, as far as the cap allows; returns whether that changes anything."""
        board = self._boards.get(stage)
        index = None if board is None else board.index(worker)
        if board is None or index is None or not board.outliers.told(worker, until_s, why, now_s):
            return False
        board.eject(index, until_s)
        return True

    def lift(self, stage: StageKey, worker: WorkerId) -> None:
        """Ends what was taken up from another chooser."""
        board = self._boards.get(stage)
        if board is not None and (index := board.index(worker)) is not None:
            board.lift(index)
