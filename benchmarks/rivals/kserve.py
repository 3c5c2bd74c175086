"""KServe: the model server of its Python SDK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import BuiltModel
from benchmarks.rivals.environment import Environment
from benchmarks.rivals.rival import LOOPBACK, PROGRAMS, Launch


@dataclass(frozen=True, slots=True)
class KServe:
    """KServe's SDK with ONNX Runtime in its process."""

    key: str = "kserve"
    name: str = "KServe SDK"
    package: str = "kserve"
    environment: str = "kserve"

    def launch(
        self, environment: Environment, models: Sequence[BuiltModel], folder: Path, ports: Sequence[int]
    ) -> Launch:
        """Returns how `kserve_server.py` is started."""
        command = [str(environment.interpreter), str(PROGRAMS / "kserve_server.py")]
        command += [str(ports[0]), str(ports[1]), *(f"{model.name}={model.path}" for model in models)]
        return Launch(command, ports[0], {"PYTHONPATH": str(LOOPBACK)})
