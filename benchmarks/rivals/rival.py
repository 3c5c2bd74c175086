"""The interface of a rival: another server of the same protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.models import BuiltModel
from benchmarks.rivals.environment import Environment

PROGRAMS = Path(__file__).parent / "programs"
"""Programs that run in the environments of rivals, and must not import this project."""

LOOPBACK = PROGRAMS / "loopback"
"""On the Python path of a server, it keeps its gRPC ports on loopback."""


@dataclass(frozen=True, slots=True)
class Launch:
    """The command line of a server.

    Attributes:
        command: Program and arguments.
        port: Where it answers ModelInfer, on loopback.
        environment: Variables of its own, beside what every program gets.
    """

    command: Sequence[str]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)


class Rival(Protocol):
    """Another server."""

    @property
    def key(self) -> str:
        """Its key on the command line."""

    @property
    def name(self) -> str:
        """Its name in tables and charts."""

    @property
    def package(self) -> str:
        """What is installed, on PyPI; its version is that of the rival."""

    @property
    def environment(self) -> str:
        """Name of its `Environment`."""

    def launch(
        self, environment: Environment, models: Sequence[BuiltModel], folder: Path, ports: Sequence[int]
    ) -> Launch:
        """Writes into `folder` what the server needs to serve the models, and returns how it is started.

        Args:
            environment: Ready.
            models: Each is a file that takes `INPUT` and gives `OUTPUT`, rows of FP32.
            folder: Empty; it outlives the server.
            ports: Three that are free.

        Raises:
            RivalMissing: It cannot be started here.
        """


def plain_environment(of: Environment) -> dict[str, str]:
    """Returns the variables that a rival's program gets: nothing of this project's Python."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    path = f"{of.folder / 'bin'}{os.pathsep}{kept.get('PATH', os.defpath)}"
    local = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    return kept | local | {"PATH": path, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
