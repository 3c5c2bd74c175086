"""How a worker is emptied before it ends."""

from __future__ import annotations

import asyncio

import structlog

from onnxmesh.errors import Conflict
from onnxmesh.v1.worker_pb2 import WorkerCommand
from services.worker.control.scheduler_connections import SchedulerConnections
from services.worker.stages.stage_table import StageTable

_log = structlog.get_logger(__name__)


class WorkerDrain:
    """Knows whether this worker is to be emptied, by an operator's wish or because it is about to stop.

    It serves what it holds until that is evicted. An operator's mark ends with the process, or when it is taken back.

    Args:
        stages: What is held.
        schedulers: Who is told, and who moves stages elsewhere.
    """

    def __init__(self, stages: StageTable, schedulers: SchedulerConnections) -> None:
        self._stages = stages
        self._schedulers = schedulers
        self._ending = False
        self._dismissed = asyncio.Event()

    def obey(self, command: WorkerCommand) -> None:
        """Carries out a Drain or a Depart; must not block. Schedulers are told what holds afterwards."""
        try:
            self._schedulers.check_epoch(command.epoch)
        except Conflict as error:
            _log.warning("command_refused", error=error.message)
            return
        if command.HasField("drain"):
            leaving = self._ending or not command.drain.undo
            _log.info("drain_undone" if not leaving else "to_be_emptied")
            self._schedulers.tell_leaving(leaving)
        elif self._ending:
            self._dismissed.set()

    async def emptied(self, within_s: float) -> None:
        """Has everything moved off this worker, which is about to stop.

        Returns once nothing is held, a scheduler has said that nothing more will be moved, none is connected, or the
        time is over.
        """
        self._ending = True
        self._schedulers.tell_leaving(True)
        reasons = {
            asyncio.ensure_future(self._stages.none_left()): "empty",
            asyncio.ensure_future(self._schedulers.none_left()): "no_scheduler",
            asyncio.ensure_future(self._dismissed.wait()): "dismissed",
        }
        try:
            done, _ = await asyncio.wait(reasons, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in reasons:
                task.cancel()
            await asyncio.wait(reasons)
        why = next((reason for task, reason in reasons.items() if task in done), "time_over")
        _log.info("leaving", why=why, stages=len(self._stages.holding()))
