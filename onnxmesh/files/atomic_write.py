"""Atomic writes of text files: readers see the old content or the new one, never a part."""

from __future__ import annotations

import tempfile
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Writes a UTF-8 file beside `path` and renames it to `path`; on an error nothing remains and `path` is as before.

    Raises:
        OSError: The file cannot be written; its folder must exist.
    """
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as staging:
        fresh = Path(staging) / path.name
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
