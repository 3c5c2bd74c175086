"""The commands and programs of README.md, as they are."""

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
(PLAN,) = re.findall(r"^```sh plan\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
(OPERATE,) = re.findall(r"^```sh operate\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
DEFAULT = "127.0.0.1:8001"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    with running_mesh("--workers=2") as running:
        type_in(QUICK_START, running, folder)
        yield running


def type_in(commands, mesh, folder):
    """Runs one command after the other, in a folder as a clone is; against a mesh, if there is one."""
    for line in commands.splitlines():
        words = shlex.split(line)
        if words[0] == "onnxmesh":
            where = [] if mesh is None else [f"--mesh={mesh.address}"]
            words = ["python", "-m", "onnxmesh.cli", *words[1:], *where]
        run(words[1:], folder)


def run(arguments, folder):
    command = [sys.executable, *arguments]
    program = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert program.returncode == 0, program.stderr
    return program.stdout


def test_readme_opens_with_make_demo_and_make_test():
    """Within its first 200 characters."""
    assert TEXT.index("make demo") < TEXT.index("make test") < 200


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_readme_programs_run(mesh, tmp_path, number):
    """Each Python block, against a mesh with the quick start's model; only the address differs."""
    program = PROGRAMS[number]
    assert DEFAULT in program
    (tmp_path / "program.py").write_text(program.replace(DEFAULT, mesh.address))
    assert "[" in run([str(tmp_path / "program.py")], tmp_path)


def test_readme_plans_run(tmp_path):
    """The commands of "Where to cut", in a clone that has nothing but the repository's files."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    type_in(PLAN, None, tmp_path)
    assert (tmp_path / "plan.svg").read_text().startswith("<?xml")


@pytest.mark.timeout(1200)
def test_readme_operations_run(mesh, tmp_path):
    """The commands of "Operate", after the quick start, restore its state."""
    type_in(OPERATE, mesh, tmp_path)
    (model,) = mesh.status().models
    assert (model.version, model.state, model.spec.replicas) == (1, "READY", 2)
