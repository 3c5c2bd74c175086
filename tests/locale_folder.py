"""Locales of a test: ONNX Runtime's default one, on machines that do not have it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

_SOURCES = (Path("/usr/lib/locale/C.utf8"), Path("/usr/lib/locale/C.UTF-8"))


def install_locale(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Makes en_US.UTF-8 known to this process and its children: a copy of C.UTF-8, whose letters have the same cases.

    Skips the test where the machine has neither.
    """
    source = next((path for path in _SOURCES if path.is_dir()), None)
    if source is None:
        pytest.skip("the C library of this machine has no C.UTF-8 to copy")
    shutil.copytree(source, folder / "en_US.utf8")
    patch.setenv("LOCPATH", str(folder))
