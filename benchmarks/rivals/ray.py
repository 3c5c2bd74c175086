"""Ray Serve through its gRPC proxy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import BuiltModel
from benchmarks.rivals.environment import Environment
from benchmarks.rivals.rival import LOOPBACK, PROGRAMS, Launch

_STUBS = Path(__file__).parents[2] / "onnxmesh" / "oip"


@dataclass(frozen=True, slots=True)
class Ray:
    """Ray Serve with one model.

    Attributes:
        halves: The model cut in two, each a deployment of its own; none: the whole model in one deployment.
    """

    halves: tuple[Path, ...] = ()
    key: str = "ray"
    package: str = "ray"
    environment: str = "ray"

    @property
    def name(self) -> str:
        """As tables call it."""
        return "Ray Serve, 2 deployments" if self.halves else "Ray Serve"

    def launch(
        self, environment: Environment, models: Sequence[BuiltModel], folder: Path, ports: Sequence[int]
    ) -> Launch:
        """Returns how `ray_server.py` is started. Its proxy answers for one model, whatever its name."""
        (model,) = models
        command = [
            str(environment.interpreter),
            str(PROGRAMS / "ray_server.py"),
            str(ports[0]),
            str(ports[1]),
        ]
        command += map(str, self.halves or (model.path,))
        path = f"{PROGRAMS}:{LOOPBACK}:{_STUBS}"
        return Launch(
            command,
            ports[0],
            {"PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"},
        )
