"""Work on models that may crash or starve a process, done in one that is made for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

import structlog

from onnxmesh.errors import InvalidModel, from_reason

CHILD = (sys.executable, "-m", "services.worker.workshop_child")
"""How a child is started."""

_TAIL_BYTES = 4096

_log = structlog.get_logger(__name__)


class Workshop:
    """Runs one step of `onnxmesh.graph.workshop` at a time, each in a fresh child process.

    Args:
        child: How a child is started.
    """

    def __init__(self, child: Sequence[str] = CHILD) -> None:
        self._child = child
        self._turn = asyncio.Lock()

    async def prepare(self, source: str, work: str, level: str) -> str:
        """Returns the profile of the model at `source` as JSON; what a cut needs is left in `work`.

        Raises:
            MeshError: What the step raises.
            InvalidModel: The child died (INVALID_ARGUMENT).
        """
        return await self._run("prepare", "preparing the model", [source, work, level])

    async def cut(self, work: str, cuts: Sequence[int]) -> str:
        """Returns the partitions of a prepared model as JSON; their files are left in `work`.

        Raises:
            MeshError: What the step raises.
            InvalidModel: The child died (INVALID_ARGUMENT).
        """
        return await self._run("cut", "cutting the model", [work, list(cuts)])

    async def _run(self, step: str, doing: str, arguments: list[object]) -> str:
        async with self._turn:
            with tempfile.TemporaryFile() as said:
                status, output = await self._child_answers(json.dumps([step, arguments]), said)
                if status != 0 or not output:
                    _log.error("workshop_died", step=step, status=status, said=_tail(said))
                    raise InvalidModel(f"ONNX Runtime crashed while {doing}: {_how(status)}")
        answer = json.loads(output)
        if "reason" in answer:
            raise from_reason(answer["reason"], answer["message"])
        return str(answer["answer"])

    async def _child_answers(self, request: str, said: IO[bytes]) -> tuple[int, bytes]:
        """Returns exit status and output of a child; it does not outlive this call."""
        # In a thread: the event loop's own subprocess pipes are at times closed under it beside gRPC's polling.
        child = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a millisecond
            self._child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        )
        try:
            return await asyncio.to_thread(_converse, child, request.encode() + b"\n")
        finally:
            child.kill()


def _converse(child: subprocess.Popen[bytes], request: bytes) -> tuple[int, bytes]:
    # Leaving closes standard input, which tells a child that its parent is gone, and waits for the end.
    with child:
        assert child.stdin is not None and child.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it died before it read; its status tells
            child.stdin.write(request)
            child.stdin.flush()
        output = child.stdout.read()
    return child.returncode, output


def _how(status: int) -> str:
    if status == -signal.SIGKILL:
        return "its process was killed, as it is when memory runs out"
    if status < 0:
        return f"its process ended with {signal.Signals(-status).name}"
    return f"its process ended with status {status}"


def _tail(said: IO[bytes]) -> str:
    size = said.seek(0, 2)
    said.seek(max(0, size - _TAIL_BYTES))
    return said.read().decode(errors="replace")
