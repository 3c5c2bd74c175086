"""Model builder: prepares and cuts models in a child process, which may crash or run out of memory."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import structlog

from onnxmesh.errors import InvalidModel, from_reason
from onnxmesh.graph.build_jobs import CutJob, PrepareJob
from services.worker.models.child import Child, ChildDiedError

CHILD = (sys.executable, "-m", "services.worker.models.model_builder_child")
"""Command that starts a child."""

KEEP_S = 10.0
"""Seconds that the child of a prepared model is kept for the cut that mostly follows: a new one starts in seconds."""

_log = structlog.get_logger(__name__)


class ModelBuilderDefect(Exception):
    """A step failed by a defect of this program: masked as an internal error, and logged with the child's traceback."""


class ModelBuilder:
    """Runs one step of `onnxmesh.graph.build_steps` at a time, in a new child process for each model.

    Args:
        child: Command that starts a child.
    """

    def __init__(self, child: Sequence[str] = CHILD) -> None:
        self._command = child
        self._lock = asyncio.Lock()
        self._kept: Child | None = None
        self._end_of_keeping: asyncio.TimerHandle | None = None

    async def prepare(self, job: PrepareJob) -> str:
        """Returns what `onnxmesh.graph.build_steps.prepare` returns.

        Raises:
            MeshError: As the step.
            InvalidModel: ONNX Runtime crashed, or memory ran out (INVALID_ARGUMENT).
            ModelBuilderDefect: An unexpected exception ended the step or the child (INTERNAL).
        """
        async with self._lock:
            self.close()
            child = Child(self._command)
            answer = await self._run(child, job)
            self._kept = child
            self._end_of_keeping = asyncio.get_running_loop().call_later(KEEP_S, self.close)
            return answer

    async def cut(self, job: CutJob) -> str:
        """Returns what `onnxmesh.graph.build_steps.cut_prepared` returns; the partitions are in the job's folder.

        Raises:
            MeshError: As the step.
            InvalidModel: ONNX Runtime crashed, or memory ran out (INVALID_ARGUMENT).
            ModelBuilderDefect: An unexpected exception ended the step or the child (INTERNAL).
        """
        async with self._lock:
            child = self._take_kept() or Child(self._command)
            answer = await self._run(child, job)
            child.close()
            return answer

    def close(self) -> None:
        """Kills the child that is kept for a cut, if there is one."""
        if (child := self._take_kept()) is not None:
            child.close()

    def _take_kept(self) -> Child | None:
        child, self._kept = self._kept, None
        if self._end_of_keeping is not None:
            self._end_of_keeping.cancel()
            self._end_of_keeping = None
        return child

    async def _run(self, child: Child, job: PrepareJob | CutJob) -> str:
        step, doing = ("prepare", "preparing") if isinstance(job, PrepareJob) else ("cut", "cutting")
        try:
            answer = await child.request([step, job.to_plain()])
            if "reason" in answer:
                raise from_reason(answer["reason"], answer["message"])
            if "traceback" in answer:
                raise ModelBuilderDefect(
                    f"{doing} the model failed in the child process:\n{answer['traceback']}"
                )
        except ChildDiedError as died:
            child.close()
            _log.error("model_builder_died", step=step, status=died.status, stderr=died.stderr_tail)
            if died.status >= 0:
                # A crash ends a process by a signal; an exit status is that of an unhandled exception.
                raise ModelBuilderDefect(f"{doing} the model: {died.how}\n{died.stderr_tail}") from died
            raise InvalidModel(f"ONNX Runtime crashed while {doing} the model: {died.how}") from died
        except BaseException:
            child.close()
            raise
        return str(answer["answer"])
