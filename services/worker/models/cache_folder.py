"""The folder that a worker keeps models in."""

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
"""How temporary folders of workers are called."""

_LOCK = "in-use"


@contextmanager
def cache_folder(
    wanted: Path | None, temporary: Path | None = None, *, shared: bool = False
) -> Iterator[Path]:
    """Gives a folder that no other worker uses meanwhile.

    Args:
        wanted: Made if absent, and kept. None: a temporary one, removed at the end; those of workers that
            were killed are removed as well.
        temporary: Where temporary folders are made; by default where the system wants them.
        shared: Whether `wanted` is for several workers: the folder given is then the first part of it that nobody
            uses, so that what an earlier worker left there is of use again.

    Raises:
        Conflict: Another worker uses the folder (ALREADY_EXISTS).
    """
    if wanted is not None and shared:
        with _free_part(wanted) as part:
            yield part
        return
    if wanted is not None:
        wanted.mkdir(parents=True, exist_ok=True)
        with _locked(wanted) as locked:
            if not locked:
                raise Conflict(f"another worker uses the cache '{wanted}'")
            yield wanted
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
        # One without a lock has just been made; and other users' folders are theirs.
        if not (folder / _LOCK).exists() or not os.access(folder, os.W_OK):
            continue
        with suppress(OSError), _locked(folder) as locked:
            if locked:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Locks a folder for the life of this process, however it ends; gives whether nobody else has it."""
    with (folder / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
