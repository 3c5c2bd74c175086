"""Draws the pictures in docs/images with `onnxmesh plan`, for devices like this machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from examples.magika_model import write_magika_model

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "magika.onnx"
        write_magika_model(model)
        command = [sys.executable, "-m", "onnxmesh.cli", "plan", str(model), "--stages", "2"]
        return subprocess.run([*command, "--svg", str(IMAGES / "plan-magika.svg")], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
