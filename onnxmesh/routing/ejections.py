"""Ejections of one gateway, and those that it adopts from others. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.stage_board import StageBoard


class EjectionObserver(Protocol):
    """Observer of the ejections that this gateway decides itself."""

    def on_ejected(self, stage: StageKey, worker: WorkerId, until_s: float) -> None:
        """A replica is ejected until then."""
        ...

    def on_released(self, stage: StageKey) -> None:
        """Every ejection of a stage has ended, because no other replica was left."""
        ...


class Ejections:
    """Replicas that routes avoid for a while, by decision of this gateway or of another.

    Args:
        boards: The board of each stage; owned by the balancer.
    """

    def __init__(self, boards: Mapping[StageKey, StageBoard]) -> None:
        self._boards = boards
        self._observers: list[EjectionObserver] = []

    def subscribe(self, observer: EjectionObserver) -> None:
        """Notifies an observer of every own decision from now on."""
        self._observers.append(observer)

    def eject(self, stage: StageKey, worker: WorkerId, until_s: float) -> None:
        """Applies a decision of the stage's outlier detector and notifies the observers."""
        board = self._boards[stage]
        if (index := board.index(worker)) is not None:
            board.eject(index, until_s)
        for observer in self._observers:
            observer.on_ejected(stage, worker, until_s)

    def release(self, stage: StageKey) -> None:
        """Ends every ejection of a stage and notifies the observers."""
        self._boards[stage].release_ejections()
        for observer in self._observers:
            observer.on_released(stage)

    def adopt(self, stage: StageKey, worker: WorkerId, until_s: float, why: str, now_s: float) -> bool:
        """Applies an ejection of another gateway, as far as the cap allows; returns whether that changed anything."""
        board = self._boards.get(stage)
        index = None if board is None else board.index(worker)
        if board is None or index is None or not board.outliers.adopt(worker, until_s, why, now_s):
            return False
        board.eject(index, until_s)
        return True

    def drop(self, stage: StageKey, worker: WorkerId) -> None:
        """Ends an ejection that was adopted from another gateway."""
        board = self._boards.get(stage)
        if board is not None and (index := board.index(worker)) is not None:
            board.end_ejection(index)
