"""Commands in the base install."""

from __future__ import annotations

import os
import subprocess
import sys


def test_worker_extra_is_named_in_the_base_install(tmp_path):
    """Without the onnx packages, split says what to install; nothing else of the command line needs them."""
    for name in ("onnx", "onnx_ir", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('none', name='{name}')")
    (tmp_path / "m.onnx").write_bytes(b"x")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "onnxmesh.cli"]
    split = [*command, "split", str(tmp_path / "m.onnx"), "--out", str(tmp_path / "cut")]
    done = subprocess.run(split, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 1
    assert done.stderr == "error: this command needs the `worker` extra: pip install 'onnxmesh[worker]'\n"
    status = [*command, "status", "--mesh", "127.0.0.1:9"]
    done = subprocess.run(status, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert "no mesh answers" in done.stderr
