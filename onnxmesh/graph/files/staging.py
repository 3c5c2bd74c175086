"""Folders that appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Gives an empty folder beside `target` that takes its place when the block ends without an error.

    What was at `target` before is replaced then, and left alone otherwise. Nothing else stays behind.

    Raises:
        OSError: The folder cannot be made or renamed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fresh = aside / "new"
        fresh.mkdir()
        yield fresh
        if target.exists():
            target.rename(aside / "old")
        fresh.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
