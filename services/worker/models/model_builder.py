"""Work on models that may crash or starve a process, done in one that is made for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import structlog

from onnxmesh.errors import InvalidModel, from_reason
from services.worker.models.child import Child, ChildDiedError

CHILD = (sys.executable, "-m", "services.worker.models.model_builder_child")
"""How a child is started."""

KEEP_S = 10.0
"""How long a child that prepared a model waits for the cut that mostly follows: starting one takes seconds."""

_log = structlog.get_logger(__name__)


class ModelBuilder:
    """Runs one step of `onnxmesh.graph.build_steps` at a time, in a child process that is new for each model.

    Args:
        child: How a child is started.
    """

    def __init__(self, child: Sequence[str] = CHILD) -> None:
        self._command = child
        self._turn = asyncio.Lock()
        self._kept: Child | None = None
        self._end_of_keeping: asyncio.TimerHandle | None = None

    async def prepare(
        self,
        source: str,
        work: str,
        level: str,
        mode: str,
        shapes: dict[str, Any],
        profile_s: float,
        device: str,
    ) -> str:
        """Returns what `onnxmesh.graph.build_steps.prepare` does; what a cut needs is left in `work`.

        Raises:
            MeshError: What the step raises.
            InvalidModel: The child died (INVALID_ARGUMENT).
        """
        async with self._turn:
            self.close()
            child = Child(self._command)
            arguments = [source, work, level, mode, shapes, profile_s, device]
            answer = await self._ask(child, "prepare", "preparing the model", arguments)
            self._kept = child
            self._end_of_keeping = asyncio.get_running_loop().call_later(KEEP_S, self.close)
            return answer

    async def cut(
        self,
        work: str,
        cuts: Sequence[int],
        direct: Sequence[Sequence[str]],
        batching: dict[str, Any] | None = None,
        *,
        activation_errors: bool = False,
    ) -> str:
        """Returns what `onnxmesh.graph.build_steps.cut_prepared` does; the partitions' files are left in `work`.

        Raises:
            MeshError: What the step raises.
            InvalidModel: The child died (INVALID_ARGUMENT).
        """
        async with self._turn:
            child = self._take_kept() or Child(self._command)
            arguments = [work, list(cuts), list(direct), batching, activation_errors]
            answer = await self._ask(child, "cut", "cutting the model", arguments)
            child.close()
            return answer

    def close(self) -> None:
        """Ends the child that waits for a cut, if there is one."""
        if (child := self._take_kept()) is not None:
            child.close()

    def _take_kept(self) -> Child | None:
        child, self._kept = self._kept, None
        if self._end_of_keeping is not None:
            self._end_of_keeping.cancel()
            self._end_of_keeping = None
        return child

    async def _ask(self, child: Child, step: str, doing: str, arguments: list[Any]) -> str:
        try:
            answer = await child.ask([step, arguments])
            if "reason" in answer:
                raise from_reason(answer["reason"], answer["message"])
        except ChildDiedError as died:
            child.close()
            _log.error("workshop_died", step=step, status=died.status, said=died.said)
            raise InvalidModel(f"ONNX Runtime crashed while {doing}: {died.how}") from died
        except BaseException:
            child.close()
            raise
        return str(answer["answer"])
