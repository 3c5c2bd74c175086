"""The folder of one scheduler, for it alone."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnxmesh.errors import Conflict, Unavailable


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """Makes the folder if absent and keeps other schedulers out of it; the lock dies with the process.

    Raises:
        Conflict: Another scheduler uses it (ALREADY_EXISTS).
        Unavailable: It cannot be made or written to (UNAVAILABLE).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise Unavailable(f"state folder '{folder}' cannot be used: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(f"another scheduler uses the state folder '{folder}'") from None
        yield folder
