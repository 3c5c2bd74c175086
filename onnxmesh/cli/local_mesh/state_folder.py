"""The folder with the files of an embedded mesh."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onnxmesh.errors import Conflict, InvalidRequest


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The folder and its parts; the services create what is missing in it.

    Attributes:
        root: The folder itself.
        kept: Whether it remains after the mesh stops.
    """

    root: Path
    kept: bool

    @property
    def scheduler(self) -> Path:
        """The scheduler's state: deployments and the blobs of their models."""
        return self.root / "scheduler"

    def log(self, name: str) -> Path:
        """The log file of one service."""
        return self.root / "logs" / f"{name}.log"

    def cache(self, worker: str) -> Path:
        """The cache of one worker: blobs that it has fetched."""
        return self.root / "workers" / worker


@contextmanager
def open_state_folder(kept: Path | None) -> Iterator[StateFolder]:
    """Yields the folder of one mesh: `kept`, or a temporary one.

    Raises:
        Conflict: Another mesh uses that folder (ALREADY_EXISTS).
        InvalidRequest: The folder cannot be created or written to (INVALID_ARGUMENT).
    """
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="onnxmesh-", ignore_cleanup_errors=True) as folder:
            yield _created(StateFolder(Path(folder), kept=False))
        return
    try:
        state = _created(StateFolder(kept.resolve(), kept=True))
        lock = (state.root / "lock").open("w")
    except OSError as error:
        raise InvalidRequest(f"--state: cannot write to '{kept}': {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(f"--state: another `onnxmesh up` uses '{kept}'") from error
        yield state


def _created(state: StateFolder) -> StateFolder:
    for folder in (state.scheduler, state.root / "logs", state.root / "workers"):
        folder.mkdir(parents=True, exist_ok=True)
    return state
