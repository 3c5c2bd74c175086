"""MLServer, with a runtime for ONNX such as its users write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import BuiltModel
from benchmarks.rivals.environment import Environment
from benchmarks.rivals.rival import PROGRAMS, Launch


@dataclass(frozen=True, slots=True)
class MLServer:
    """MLServer as it is by default: one process beside the server runs the models."""

    key: str = "mlserver"
    name: str = "MLServer"
    package: str = "mlserver"
    environment: str = "mlserver"

    def launch(
        self, environment: Environment, models: Sequence[BuiltModel], folder: Path, ports: Sequence[int]
    ) -> Launch:
        """Writes the settings of server and models, and returns how `mlserver start` is called."""
        served = folder / "served"
        served.mkdir()
        settings = {
            "debug": False,
            "host": "127.0.0.1",
            "grpc_port": ports[0],
            "http_port": ports[1],
            "metrics_port": ports[2],
            "parallel_workers": 1,
            "grpc_max_message_length": 1 << 28,
        }
        (served / "settings.json").write_text(json.dumps(settings))
        for model in models:
            (served / model.name).mkdir()
            described = {
                "name": model.name,
                "implementation": "mlserver_runtime.OnnxModel",
                "parameters": {"uri": str(model.path)},
            }
            (served / model.name / "model-settings.json").write_text(json.dumps(described))
        command = [str(environment.interpreter), "-m", "mlserver.cli.main", "start", str(served)]
        return Launch(command, ports[0], {"PYTHONPATH": str(PROGRAMS)})
