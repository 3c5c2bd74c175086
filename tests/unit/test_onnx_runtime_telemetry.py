"""What a mesh serves is nobody's business: ONNX Runtime tells its makers nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "program",
    [
        "services.worker.app",
        "onnxmesh.cli.app",
        "onnxmesh.graph.runtime.session",
        "benchmarks.machine",
        "examples.demo",
    ],
)
def test_onnx_runtime_telemetry_is_disabled(program, tmp_path):
    """With what tells, ONNX Runtime would make a file that this machine is known by. It makes none in CI by itself."""
    own = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    folders = dict.fromkeys(("TMPDIR", "HOME", "XDG_CACHE_HOME"), str(tmp_path))
    subprocess.run(
        [sys.executable, "-c", f"import {program}, onnxruntime"], check=True, env=own | folders, timeout=60
    )
    assert not list(tmp_path.rglob(".ses"))
