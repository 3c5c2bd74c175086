"""Atomic creation of folders: a folder appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged_folder(target: Path, *, replace: bool = True, mode: int = 0o777) -> Iterator[Path]:
    """Yields an empty folder beside `target`, which is renamed to `target` when the block ends without an error.

    Nothing else remains, whether the block fails or not.

    Args:
        target: The folder to create; its parents are created if absent.
        replace: True: a `target` that exists is replaced at the end. False: it is kept, as after another process
            has created the same folder meanwhile.
        mode: Permissions of the folder, before the umask.

    Raises:
        OSError: The folder cannot be created or renamed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fresh = staging / "new"
        fresh.mkdir(mode)
        yield fresh
        if replace and target.exists():
            target.rename(staging / "old")
        try:
            fresh.rename(target)
        except OSError:
            if replace or not target.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
