"""Leader election by a file lock, for schedulers of one machine, usually a single one."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

from onnxmesh.deadline import Clock
from onnxmesh.leadership.base import Candidate, Leader, LeaderStatus, next_term

LEADER_FILE = "leader"
"""Name of the lock file, which contains the last leader."""

_PERIOD_S = 0.2


class FileLeaderElection:
    """The `LeaderElection` of schedulers that share a folder; the lock ends with the process that holds it.

    Args:
        folder: Folder of the lock file; must exist.
        clock: Seconds since 1970.
    """

    def __init__(self, folder: Path, *, clock: Clock = time) -> None:
        self._path = folder / LEADER_FILE
        self._clock = clock

    @asynccontextmanager
    async def campaign(
        self, id_: str, address: str, candidate: Candidate | None = None
    ) -> AsyncIterator[Candidate]:
        """Stands for election for the duration of the context; a leader resigns at its end.

        Entering does not wait for an outcome, but a candidate without a rival leads by then.
        """
        candidate = candidate or Candidate()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if self._try_lock(descriptor, id_, address, candidate):
                yield candidate
                return
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(self._wait(descriptor, id_, address, candidate))
                try:
                    yield candidate
                finally:
                    waiting.cancel()
        finally:
            os.close(descriptor)
            candidate.set(LeaderStatus())

    async def _wait(self, descriptor: int, id_: str, address: str, candidate: Candidate) -> None:
        while True:
            await asyncio.sleep(_PERIOD_S)
            if self._try_lock(descriptor, id_, address, candidate):
                return

    def _try_lock(self, descriptor: int, id_: str, address: str, candidate: Candidate) -> bool:
        """Tries to get the lock; publishes the leader in any case."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            candidate.set(LeaderStatus(self._last(descriptor)))
            return False
        last = self._last(descriptor)
        leader = Leader(id_, address, next_term(0 if last is None else last.term, self._clock()))
        written = leader.to_json().encode()
        os.pwrite(descriptor, written, 0)
        os.ftruncate(descriptor, len(written))
        os.fsync(descriptor)
        candidate.set(LeaderStatus(leader, is_leader=True))
        return True

    def _last(self, descriptor: int) -> Leader | None:
        written = os.pread(descriptor, 4096, 0)
        try:
            return Leader.from_json(written)
        except ValueError:  # there was no leader yet, or it died while writing
            return None
