"""The README's commands and programs, run as they stand."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from examples.sample_files import ROOT
from tests.e2e.mesh_process import running_mesh

TEXT = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
(QUICK_START,) = re.findall(r"^```sh quick-start\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
DEFAULT = "127.0.0.1:8001"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    with running_mesh("--workers=2") as running:
        for line in QUICK_START.splitlines():
            words = shlex.split(line)
            if words[0] == "onnxmesh":
                words = ["python", "-m", "onnxmesh.cli", *words[1:], f"--mesh={running.address}"]
            run(words[1:], folder)
        yield running


def run(arguments, folder):
    command = [sys.executable, *arguments]
    program = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert program.returncode == 0, program.stderr
    return program.stdout


def test_names_what_a_newcomer_types_first():
    """The README opens with `make demo` and `make test`."""
    assert TEXT.index("make demo") < TEXT.index("make test") < 200


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_programs_run_as_they_stand(mesh, tmp_path, number):
    """Each Python block works against a mesh with the quick start's model; only the address differs."""
    program = PROGRAMS[number]
    assert DEFAULT in program
    (tmp_path / "program.py").write_text(program.replace(DEFAULT, mesh.address))
    assert "[" in run([str(tmp_path / "program.py")], tmp_path)
