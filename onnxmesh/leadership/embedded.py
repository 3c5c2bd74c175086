"""Leadership by a lock on a file, for schedulers of one machine, above all for a single one."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

from onnxmesh.deadline import Clock
from onnxmesh.leadership.base import Candidacy, Leader, LeaderStatus, next_term

FILE_NAME = "leader"
"""Name of the file, which holds the last leader too."""

_PERIOD_S = 0.2


class FileLeadership:
    """The `Leadership` of those who share a folder; the lock dies with the process that holds it.

    Args:
        folder: Where the file is; must be there.
        clock: Seconds since 1970.
    """

    def __init__(self, folder: Path, *, clock: Clock = time) -> None:
        self._path = folder / FILE_NAME
        self._clock = clock

    @asynccontextmanager
    async def campaign(
        self, id_: str, address: str, candidacy: Candidacy | None = None
    ) -> AsyncIterator[Candidacy]:
        """Stands for election for the time of the context; whoever leads resigns at its end.

        Entering does not wait for an outcome, but a candidate without a rival leads by then.
        """
        candidacy = candidacy or Candidacy()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if self._tried(descriptor, id_, address, candidacy):
                yield candidacy
                return
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(self._wait(descriptor, id_, address, candidacy))
                try:
                    yield candidacy
                finally:
                    waiting.cancel()
        finally:
            os.close(descriptor)
            candidacy.set(LeaderStatus())

    async def _wait(self, descriptor: int, id_: str, address: str, candidacy: Candidacy) -> None:
        while True:
            await asyncio.sleep(_PERIOD_S)
            if self._tried(descriptor, id_, address, candidacy):
                return

    def _tried(self, descriptor: int, id_: str, address: str, candidacy: Candidacy) -> bool:
        """Whether the lock could be had; says in any case who leads."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            candidacy.set(LeaderStatus(self._last(descriptor)))
            return False
        last = self._last(descriptor)
        leader = Leader(id_, address, next_term(0 if last is None else last.term, self._clock()))
        written = leader.to_json().encode()
        os.pwrite(descriptor, written, 0)
        os.ftruncate(descriptor, len(written))
        os.fsync(descriptor)
        candidacy.set(LeaderStatus(leader, leads=True))
        return True

    def _last(self, descriptor: int) -> Leader | None:
        written = os.pread(descriptor, 4096, 0)
        try:
            return Leader.from_json(written)
        except ValueError:  # nobody has led yet, or one died while it wrote
            return None
