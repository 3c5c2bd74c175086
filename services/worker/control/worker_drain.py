"""Drain of this worker: schedulers move its stages to other workers."""

from __future__ import annotations

import asyncio

import structlog

from onnxmesh.errors import Conflict
from onnxmesh.v1.worker_pb2 import WorkerCommand
from services.worker.control.scheduler_connections import SchedulerConnections
from services.worker.stages.stage_table import StageTable

_log = structlog.get_logger(__name__)


class WorkerDrain:
    """Whether this worker is to be emptied: by an operator's command, or because it is about to stop.

    It serves its stages until they are evicted. An operator's drain ends with the process, or when it is undone.

    Args:
        stages: The stages held.
        schedulers: They receive the state of the drain and move the stages.
    """

    def __init__(self, stages: StageTable, schedulers: SchedulerConnections) -> None:
        self._stages = stages
        self._schedulers = schedulers
        self._stopping = False
        self._released = asyncio.Event()

    def handle(self, command: WorkerCommand) -> None:
        """Handles a Drain or a Depart command without blocking; the resulting state is published."""
        try:
            self._schedulers.check_epoch(command.epoch)
        except Conflict as error:
            _log.warning("command_refused", error=error.message)
            return
        if command.HasField("drain"):
            leaving = self._stopping or not command.drain.undo
            _log.info("drain_begun" if leaving else "drain_undone")
            self._schedulers.publish_leaving(leaving)
        elif self._stopping:
            self._released.set()

    async def evacuate(self, timeout_s: float) -> None:
        """Waits until the stages of a worker that is about to stop have been moved to others.

        Returns once no stage is held, a scheduler has sent Depart, no scheduler is connected, or after the timeout.
        """
        self._stopping = True
        self._schedulers.publish_leaving(True)
        reasons = {
            asyncio.ensure_future(self._stages.wait_empty()): "empty",
            asyncio.ensure_future(self._schedulers.wait_disconnected()): "no_scheduler",
            asyncio.ensure_future(self._released.wait()): "released",
        }
        try:
            done, _ = await asyncio.wait(reasons, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in reasons:
                task.cancel()
            await asyncio.wait(reasons)
        why = next((reason for task, reason in reasons.items() if task in done), "timeout")
        _log.info("worker_evacuated", why=why, stages=len(self._stages.holding()))
