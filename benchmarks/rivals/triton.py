"""NVIDIA Triton: the server out of the nvidia-pytriton wheel, started itself, with its Python backend."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import BuiltModel
from benchmarks.rivals.environment import Environment, RivalMissing
from benchmarks.rivals.rival import PROGRAMS, Launch

_CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: {most_rows}
input [ {{ name: "INPUT" data_type: TYPE_FP32 dims: [ {dims} ] }} ]
output [ {{ name: "OUTPUT" data_type: TYPE_FP32 dims: [ {dims} ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
parameters {{ key: "path" value: {{ string_value: "{path}" }} }}
"""
_MOST_ROWS = 64


@dataclass(frozen=True, slots=True)
class Triton:
    """Triton with one instance of each model.

    Attributes:
        batching: Whether requests that wait run together (dynamic batching).
    """

    batching: bool = False
    key: str = "triton"
    package: str = "nvidia-pytriton"
    environment: str = "pytriton"

    @property
    def name(self) -> str:
        """As tables call it."""
        return "Triton, batching" if self.batching else "Triton"

    def launch(
        self, environment: Environment, models: Sequence[BuiltModel], folder: Path, ports: Sequence[int]
    ) -> Launch:
        """Puts the server together from the wheel, and writes a model repository."""
        root = _assembled(environment, folder / "triton")
        for model in models:
            _write_model(folder / "models", model, batching=self.batching)
        command = [
            str(root / "bin" / "tritonserver"),
            f"--model-repository={folder / 'models'}",
            f"--backend-directory={root / 'backends'}",
        ]
        for kind, port in zip(("grpc", "http", "metrics"), ports, strict=True):
            command += [f"--{kind}-port={port}", f"--{kind}-address=127.0.0.1"]
        base = environment.base
        libraries = [base / "lib", environment.packages / "nvidia_pytriton.libs"]
        return Launch(
            command,
            ports[0],
            {
                "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
                "PYTHONPATH": str(environment.packages),
                "PYTHONHOME": str(base),
            },
        )


def _assembled(environment: Environment, root: Path) -> Path:
    """Lays the wheel's parts out as the server wants them: the stub of this Python beside the Python backend."""
    parts = environment.packages / "pytriton" / "tritonserver"
    version = environment.packages.parent.name.removeprefix("python")
    stub = parts / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise RivalMissing(f"its wheel has no Python backend for Python {version}")
    for part in ("bin", "backends", "caches"):
        shutil.copytree(parts / part, root / part)
    shutil.copy(stub, root / "backends" / "python")
    for program in (root / "bin" / "tritonserver", root / "backends" / "python" / stub.name):
        program.chmod(0o755)
    return root


def _write_model(repository: Path, model: BuiltModel, *, batching: bool) -> None:
    version = repository / model.name / "1"
    version.mkdir(parents=True)
    shutil.copy(PROGRAMS / "triton_model.py", version / "model.py")
    config = _CONFIG.format(
        name=model.name,
        path=model.path,
        most_rows=_MOST_ROWS if batching else 0,
        dims=model.width if batching else f"-1, {model.width}",
    )
    (repository / model.name / "config.pbtxt").write_text(config + "dynamic_batching { }\n" * batching)
