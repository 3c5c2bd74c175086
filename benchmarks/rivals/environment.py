"""Virtual environments of rivals with pinned versions, separate from the project's own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PINS = Path(__file__).parent / "pins"
OWN_ROOT = Path(__file__).parents[2] / "build" / "rivals"
"""Folder of environments, unless a folder of ready ones is given."""

_STAMP = "onnxmesh-pins.txt"


class RivalMissing(Exception):
    """A rival cannot be measured here; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The virtual environment of a rival.

    Attributes:
        name: Of its folder, and of the file with its pins.
        root: Folder of environments.
        ready_made: Whether somebody else keeps that folder: then nothing is installed there, and what is there is used.
        python: What makes the environment: a Python for which the pinned versions have wheels.
    """

    name: str
    root: Path = OWN_ROOT
    ready_made: bool = False
    python: str = sys.executable

    @property
    def folder(self) -> Path:
        """The environment's own folder."""
        return self.root / self.name

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Where its packages are.

        Raises:
            RivalMissing: Nothing is installed.
        """
        found = sorted(self.folder.glob("lib/python3*/site-packages"))
        if not found:
            raise RivalMissing(f"nothing is installed in {self.folder}")
        return found[-1]

    @property
    def base(self) -> Path:
        """Where the Python is installed that made it.

        Raises:
            RivalMissing: That is not written down there.
        """
        with contextlib.suppress(OSError):
            for line in (self.folder / "pyvenv.cfg").read_text().splitlines():
                key, _, value = line.partition("=")
                if key.strip() == "home":
                    return Path(value.strip()).parent
        raise RivalMissing(
            f"{self.folder} is no virtual environment: expected a pyvenv.cfg that names its home"
        )

    @property
    def pins(self) -> Path:
        """What is installed: a package with its version in each line."""
        return PINS / f"{self.name}.txt"

    def is_ready(self) -> bool:
        """Whether it exists, with the pinned versions if this project created it."""
        if not self.interpreter.exists():
            return False
        stamp = self.folder / _STAMP
        return self.ready_made or (stamp.exists() and stamp.read_text() == self.pins.read_text())

    def prepare(self, *, install: bool, report: Callable[[str], None] = lambda what: None) -> None:
        """Installs it if it is missing.

        Args:
            install: Whether it may be installed, which takes a package index and a minute.
            report: Called with a text before a step.

        Raises:
            RivalMissing: It is not there, or cannot be installed.
        """
        if self.is_ready():
            return
        if self.ready_made:
            raise RivalMissing(f"expected an environment in {self.folder}, there is none")
        if not install:
            raise RivalMissing(f"not installed in {self.folder}; a run without --no-install does it")
        report(f"{self.name}: installing")
        shutil.rmtree(self.folder, ignore_errors=True)
        self._run(self.python, "-I", "-m", "venv", str(self.folder))
        options = "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"
        self._run(str(self.interpreter), "-I", "-m", "pip", "install", *options, "-r", str(self.pins))
        (self.folder / _STAMP).write_text(self.pins.read_text())

    def version_of(self, package: str) -> str:
        """Returns the version of an installed package; empty if it is not installed."""
        stem = package.replace("-", "_")
        found = next(self.packages.glob(f"{stem}-*.dist-info"), None)
        return found.name.removeprefix(f"{stem}-").removesuffix(".dist-info") if found else ""

    def _run(self, *command: str) -> None:
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True)
        except OSError as error:
            raise RivalMissing(f"cannot be installed: {error}") from error
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            errors = [line for line in lines if "error" in line.lower()] or lines
            raise RivalMissing(
                f"cannot be installed: {errors[-1] if errors else f'exit code {done.returncode}'}"
            )
