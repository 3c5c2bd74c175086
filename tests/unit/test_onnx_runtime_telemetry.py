"""ONNX Runtime's telemetry is disabled in every program that imports it."""

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
    """With telemetry ONNX Runtime writes a file with an id of the machine (not where the variable `CI` is set); none is written."""
    own = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    folders = dict.fromkeys(("TMPDIR", "HOME", "XDG_CACHE_HOME"), str(tmp_path))
    subprocess.run(
        [sys.executable, "-c", f"import {program}, onnxruntime"], check=True, env=own | folders, timeout=60
    )
    assert not list(tmp_path.rglob(".ses"))
