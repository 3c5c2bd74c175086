"""Cache folder of a worker, locked against other workers."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from onnxmesh.errors import Conflict

PREFIX = "onnxmesh-worker-"
"""Prefix of the names of temporary cache folders."""

_LOCK = "in-use"


@contextmanager
def cache_folder(path: Path | None, temporary: Path | None = None, *, shared: bool = False) -> Iterator[Path]:
    """Yields a folder that no other worker uses meanwhile.

    Args:
        path: Made if absent, and kept. None: a temporary folder, removed at the end, as are those of killed workers.
        temporary: Where temporary folders are made; None: the system's place for them.
        shared: Whether several workers share `path`: each gets the first subfolder that is not locked, so that blobs of
            an earlier worker are used again.

    Raises:
        Conflict: Another worker uses the folder (ALREADY_EXISTS).
    """
    if path is not None and shared:
        with _free_part(path) as part:
            yield part
        return
    if path is not None:
        path.mkdir(parents=True, exist_ok=True)
        with _locked(path) as locked:
            if not locked:
                raise Conflict(f"another worker uses the cache '{path}'")
            yield path
        return
    parent = temporary or Path(tempfile.gettempdir())
    _remove_abandoned(parent)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as name, _locked(Path(name)):
        yield Path(name)


@contextmanager
def _free_part(folder: Path) -> Iterator[Path]:
    for number in itertools.count():
        part = folder / f"part-{number}"
        part.mkdir(parents=True, exist_ok=True)
        with _locked(part) as locked:
            if locked:
                yield part
                return


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        # A folder without a lock file is being made; folders of other users cannot be removed.
        if not (folder / _LOCK).exists() or not os.access(folder, os.W_OK):
            continue
        with suppress(OSError), _locked(folder) as locked:
            if locked:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Locks a folder until the process ends, however it ends; yields whether the lock was free."""
    with (folder / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
