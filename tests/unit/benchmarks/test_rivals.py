"""A rival that cannot be measured is named with its reason, and the rest goes on."""

from __future__ import annotations

import json
import re
import sys
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from benchmarks.bench import Bench, Duel
from benchmarks.models import IDENTITY, BuiltModel
from benchmarks.parts import gpu, hop, identity, mlp, resnet50
from benchmarks.rivals import server
from benchmarks.rivals.environment import PINS, Environment, RivalMissing
from benchmarks.rivals.kserve import KServe
from benchmarks.rivals.mlserver import MLServer
from benchmarks.rivals.ray import Ray
from benchmarks.rivals.rival import Launch
from benchmarks.rivals.triton import Triton
from benchmarks.settings import RIVALS, Settings
from benchmarks.side import Side
from benchmarks.targets import by_throughput
from tests.eventually import eventually

RIVAL_KINDS = (Triton(), Triton(batching=True), KServe(), MLServer(), Ray())
DUEL = Duel("identity-kserve", 32, by_throughput)


class SilentDisplay:
    """Keeps the texts."""

    def __init__(self):
        self.texts = []

    def step(self, what):
        self.texts.append(what)

    print = step


class IdleDriver:
    """A rival that is connected and gets no request."""

    ended = False


OURS = Side("onnxmesh", IdleDriver())


def bench(tmp_path, **settings):
    return Bench(Settings(root=tmp_path / "rivals", **settings), SilentDisplay(), tmp_path)


def model(tmp_path):
    return BuiltModel("identity", tmp_path / "identity.onnx", tmp_path / "identity.npz", 16)


def test_rival_that_cannot_be_started_is_missing_with_its_reason(tmp_path):
    """The result and the list of rivals say why; nothing is raised, and the next rival is measured."""
    run = bench(tmp_path, install=False)
    run.against(OURS, KServe(), model(tmp_path), [DUEL])
    (result,) = run.outcome.results
    assert result.verdict == "missing"
    assert (
        result.reason
        == f"not installed in {tmp_path / 'rivals' / 'kserve'}; a run without --no-install does it"
    )
    assert run.outcome.rivals == {"KServe SDK": f"missing: {result.reason}"}
    assert any("KServe SDK is not measured" in line for line in run.display.texts)


def test_rival_that_is_not_selected_is_missing(tmp_path):
    """It is not even looked for."""
    run = bench(tmp_path, rivals=("triton",))
    run.against(OURS, KServe(), model(tmp_path), [DUEL])
    assert [result.reason for result in run.outcome.results] == ["not among --rivals"]
    assert not run.outcome.rivals


def test_environment_of_a_ready_folder_is_not_changed(tmp_path):
    """Nothing is installed where somebody else keeps the environments."""
    environment = Environment("kserve", tmp_path, ready_made=True)
    with pytest.raises(RivalMissing, match=r"expected an environment in .*kserve, there is none"):
        environment.prepare(install=True)
    assert not list(tmp_path.iterdir())


def test_environment_that_cannot_be_created_has_the_reason(tmp_path):
    """A Python that is not there is named."""
    environment = Environment("kserve", tmp_path, python="/nowhere/python")
    with pytest.raises(RivalMissing, match=r"cannot be installed: .*/nowhere/python"):
        environment.prepare(install=True)


def test_environment_with_other_pins_is_created_again(tmp_path):
    """One that was made with the pins of today is ready, one of yesterday is not."""
    environment = Environment("kserve", tmp_path)
    environment.interpreter.parent.mkdir(parents=True)
    environment.interpreter.touch()
    assert not environment.is_ready()
    stamp = environment.folder / "onnxmesh-pins.txt"
    stamp.write_text(environment.pins.read_text())
    assert environment.is_ready()
    stamp.write_text("kserve==0.1\n")
    assert not environment.is_ready()


@pytest.mark.parametrize("rival", RIVAL_KINDS, ids=lambda rival: rival.name)
def test_rivals_are_pinned(rival):
    """Each package of its environment has one version, ONNX Runtime among them; its key can be chosen."""
    lines = (PINS / f"{rival.environment}.txt").read_text().splitlines()
    assert all("==" in line for line in lines)
    names = {line.partition("==")[0] for line in lines}
    assert {"onnxruntime", rival.package} <= names
    assert rival.key in RIVALS


@pytest.mark.parametrize("name", sorted({rival.environment for rival in RIVAL_KINDS}))
def test_rivals_have_the_onnx_runtime_of_the_mesh(name):
    """The pinned version is the one that is locked for this project."""
    locks = (Path(__file__).parents[3] / "locks" / "dev.txt").read_text()
    (locked,) = re.findall(r"^onnxruntime==(\S+)", locks, re.MULTILINE)
    (pinned,) = re.findall(r"^onnxruntime==(\S+)", (PINS / f"{name}.txt").read_text(), re.MULTILINE)
    assert pinned == locked


def test_environment_finds_the_python_that_created_it(tmp_path):
    """It is written down there; a folder where it is not is no environment."""
    environment = Environment("kserve", tmp_path)
    with pytest.raises(RivalMissing, match="is no virtual environment"):
        _ = environment.base
    environment.folder.mkdir()
    (environment.folder / "pyvenv.cfg").write_text("home = /opt/python/bin\nversion = 3.11.7\n")
    assert str(environment.base) == "/opt/python"


def test_triton_needs_a_python_that_its_wheel_supports(tmp_path):
    """Without a backend for this Python version it is missing, and the reason names the version."""
    environment = Environment("pytriton", tmp_path, ready_made=True)
    (environment.folder / "lib" / "python3.99" / "site-packages").mkdir(parents=True)
    with pytest.raises(RivalMissing, match=r"no Python backend for Python 3\.99"):
        Triton().launch(environment, [model(tmp_path)], tmp_path / "server", [1, 2, 3])


@pytest.mark.parametrize("rival", (KServe(), MLServer(), Ray()), ids=lambda rival: rival.name)
def test_launch_names_program_and_model(tmp_path, rival):
    """The environment's own Python runs it; the port is the first that was given."""
    environment = Environment(rival.environment, tmp_path, ready_made=True)
    launch = rival.launch(environment, [model(tmp_path)], tmp_path, [7001, 7002, 7003])
    assert launch.command[0] == str(environment.interpreter)
    assert launch.port == 7001
    written = [*launch.command, *(json.dumps(path.read_text()) for path in tmp_path.rglob("*.json"))]
    assert any(str(tmp_path / "identity.onnx") in part for part in written)


def test_server_that_ends_at_its_start_is_reported_with_its_last_line(tmp_path):
    """Exit code and the last line of its log are the reason."""

    class Broken(KServe):
        def launch(self, environment, models, folder, ports):
            return Launch([sys.executable, "-c", "raise SystemExit('no such device')"], ports[0])

    environment = Environment("kserve", tmp_path, ready_made=True)
    built = IDENTITY.built(tmp_path)
    with (
        pytest.raises(RivalMissing, match="ended with exit code 1 at its start: no such device"),
        server.serving(Broken(), environment, [built], tmp_path / "server"),
    ):
        pass


CHILDREN = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(600)
"""


@pytest.mark.parametrize("fails", [False, True])
async def test_server_is_ended_with_all_its_processes(tmp_path, fails):
    """Also a child in a session of its own, and also if measuring fails."""
    launch = Launch([sys.executable, "-c", CHILDREN], 1)
    with (
        pytest.raises(RuntimeError) if fails else nullcontext(),
        server.running("server", launch, {}, tmp_path) as it,
    ):
        await eventually(lambda: len(it.found()) == 2)
        left = it.found()
        if fails:
            raise RuntimeError("measuring failed")
    assert not [
        process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def test_server_names_a_missing_program(tmp_path):
    """It does not start, and the reason has its name."""
    with (
        pytest.raises(RivalMissing, match=r"does not start: .*/nowhere/server"),
        server.running("server", Launch(["/nowhere/server"], 1), {}, tmp_path),
    ):
        pass


def test_free_ports_are_different():
    """Three ports are three."""
    assert len(set(server.free_ports(3))) == 3


@pytest.mark.parametrize("part", (identity, mlp, resnet50, hop, gpu), ids=lambda part: part.__name__)
def test_parts_have_the_number_of_their_steps(tmp_path, part):
    """More rounds are more steps, where there are any."""
    few, many = part.num_steps(bench(tmp_path, num_rounds=1)), part.num_steps(bench(tmp_path, num_rounds=3))
    assert few < many or (part is gpu and few == many == 0)
