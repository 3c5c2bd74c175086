"""The packages of the extra `worker`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from onnxmesh.errors import Unsatisfiable
from onnxmesh.worker_extra import require_worker_extra, require_worker_packages

CLI = ("-m", "onnxmesh.cli")
MISSING = (
    "this needs the `worker` extra, for {} is not installed: pip install 'onnxmesh[worker]', or "
    "'onnxmesh[worker-gpu]' for GPUs\n"
)
BASE_INSTALL = """
import sys

class Finder:
    def find_spec(name, *rest):
        if name.partition(".")[0] in {"onnx", "onnx_ir", "onnxruntime"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder)
"""
"""As `sitecustomize`, which Python runs at its start."""


@pytest.fixture
def base_install(tmp_path):
    """Runs Python programs as in an installation without the extra."""
    (tmp_path / "sitecustomize.py").write_text(BASE_INSTALL)
    (tmp_path / "m.onnx").write_bytes(b"\x08")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return run


@pytest.mark.parametrize(
    ("arguments", "prefix", "package"),
    [
        ((*CLI, "split", "m.onnx", "--out", "cut"), "error: ", "onnx"),
        ((*CLI, "up", "--address", "127.0.0.1:0"), "error: ", "onnx"),
        (("-m", "services.worker"), "worker: ", "onnxruntime"),
    ],
)
def test_worker_extra_is_named_in_the_base_install(base_install, arguments, prefix, package):
    """By commands on a model's file, by `up` before it starts anything, and by a worker: one line, and exit code 1."""
    done = base_install(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", prefix + MISSING.format(package))


def test_commands_that_call_a_mesh_run_in_the_base_install(base_install):
    """They need only the client library."""
    assert "no mesh answers" in base_install(*CLI, "status", "--mesh", "127.0.0.1:9").stderr


def test_worker_extra_distinguishes_a_broken_package_from_a_missing_one():
    """ONNX Runtime for GPUs lacks a library of CUDA on a machine without one; other imports are left alone."""
    require_worker_packages()
    with (
        pytest.raises(Unsatisfiable, match="onnxruntime cannot be imported: libcudart"),
        require_worker_extra(),
    ):
        raise ImportError("libcudart.so: cannot open", name="onnxruntime.capi")
    with pytest.raises(ImportError, match="other"), require_worker_extra():
        raise ImportError("other", name="other")
