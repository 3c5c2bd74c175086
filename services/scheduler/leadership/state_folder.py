"""The state folder of one scheduler, locked while it runs."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnxmesh.errors import Conflict, Unavailable


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """Creates the folder if it is absent and locks it against other schedulers; the lock ends with the process.

    Raises:
        Conflict: Another scheduler uses it (ALREADY_EXISTS).
        Unavailable: It cannot be created or written to (UNAVAILABLE).
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
