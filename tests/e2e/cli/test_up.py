"""`onnxmesh up`: its processes, their failures, and its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack

import psutil
import pytest

from examples.tiny_model import tiny_model
from onnxmesh.client import LocalMesh
from tests.eventually import BUSY_S
from tests.fakes.command_line import run
from tests.fakes.service_processes import until

READY = "mesh ready: gateway "
CLI = [sys.executable, "-m", "onnxmesh.cli"]


def cli(*arguments):
    return subprocess.run([*CLI, *arguments], capture_output=True, text=True, check=False, timeout=600)


def answers(address, name="tiny"):
    return run("infer", name, "--input=x=random", f"--mesh={address}").exit_code == 0


def scraped(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=BUSY_S) as response:
        return response.read().decode()


def folders_in(temporary):
    """Returns what a mesh left there, except for the file `.ses` of ONNX Runtime."""
    return [path for path in temporary.iterdir() if path.name != ".ses"]


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "tiny.onnx").write_bytes(tiny_model().SerializeToString())
    return folder


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files that only this test's processes use."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.parametrize(
    ("number", "num_workers", "num_gateways"), [(signal.SIGTERM, 2, 1), (signal.SIGHUP, 1, 2)]
)
def test_up_stops_everything_at_a_signal(temporary, number, num_workers, num_gateways):
    """SIGTERM and SIGHUP leave no process and no temporary folder, and exit with 0.

    No service is killed: each has logged that it stopped.
    """
    with (
        ExitStack() as stack,
        LocalMesh(f"--workers={num_workers}", f"--gateway-processes={num_gateways}") as mesh,
    ):
        mesh.wait_ready(BUSY_S)
        workers = {f"worker-{worker}" for worker in range(num_workers)}
        assert set(mesh.pids) == {"scheduler", "gateway"} | workers
        family = psutil.Process(mesh.process.pid).children(recursive=True)
        of_gateway = psutil.Process(mesh.pids["gateway"]).children()
        assert len(of_gateway) == (num_gateways if num_gateways > 1 else 0)
        # Which can still be read when they are removed.
        logs = [stack.enter_context(path.open()) for path in temporary.rglob("*.log")]
        mesh.stop(number, timeout_s=300)
        assert len(logs) == len(mesh.pids)
        assert all('"event": "stopped"' in log.read() for log in logs)
    assert mesh.process.returncode == 0
    assert mesh.running_pids == []
    assert not [process for process in family if process.is_running()]
    assert folders_in(temporary) == []


def test_up_stops_normally_after_its_reader_closed_the_pipe(temporary):
    """Its output is discarded then."""
    command = [sys.executable, "-m", "onnxmesh.cli", "up", "--json", "--workers=1", "--address=127.0.0.1:0"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as mesh:
        assert mesh.stdout is not None
        while '"ready"' not in mesh.stdout.readline():
            assert mesh.poll() is None
        family = psutil.Process(mesh.pid).children(recursive=True)
        mesh.stdout.close()
        mesh.terminate()
        assert mesh.wait(300) == 0
    assert not [process for process in family if process.is_running()]
    assert folders_in(temporary) == []


def test_up_stops_everything_while_it_starts(temporary):
    """A mesh that is stopped before it is ready leaves nothing."""
    with LocalMesh("--workers=2") as mesh:
        mesh.wait_for(lambda event: event["event"] == "service_ready", timeout_s=BUSY_S)
        mesh.stop(signal.SIGINT, timeout_s=300)
    assert mesh.process.returncode == 0
    assert mesh.running_pids == []
    assert folders_in(temporary) == []


def test_up_restarts_a_killed_service(models):
    """SIGKILL to each service: one event with the cause, the same address, and the model is served again.

    Its metrics are where they were. Afterwards there are as many processes and open files as before.
    """
    with LocalMesh("--workers=1", "--metrics", f"--models={models}") as mesh:
        address = mesh.wait_ready(BUSY_S)
        assert answers(address), mesh.events
        metrics = mesh.wait_for(lambda event: event["event"] == "ready")["metrics"]
        assert list(metrics) == ["scheduler", "gateway", "worker-0"]
        assert "onnxmesh_gateway_requests_total" in scraped(metrics["gateway"])
        supervisor = psutil.Process(mesh.process.pid)
        num_processes, num_files = len(supervisor.children()), len(supervisor.open_files())
        for name in ("worker-0", "gateway", "scheduler", "worker-0"):
            start = len(mesh.events)
            pid = mesh.pids[name]
            before = mesh.wait_for(lambda event, name=name: event.get("name") == name, timeout_s=BUSY_S)
            os.kill(pid, signal.SIGKILL)
            died = mesh.wait_for(
                lambda event: event["event"] == "service_died", timeout_s=BUSY_S, start=start
            )
            assert (died["name"], died["pid"], died["cause"]) == (name, pid, "was killed by SIGKILL")
            back = mesh.wait_for(
                lambda event: event["event"] == "service_ready", timeout_s=BUSY_S, start=start
            )
            assert (back["name"], back["again"], back["address"]) == (name, True, before["address"])
            until(lambda: answers(address))
            assert f"onnxmesh_{name.partition('-')[0]}_" in scraped(metrics[name])
        assert len(supervisor.children()) == num_processes
        assert len(supervisor.open_files()) <= num_files


def test_up_prints_text(models):
    """Without --json: the models, the topology, commands to try, and last the ready line.

    A file that cannot be served is reported, and the others are deployed.
    """
    (models / "broken.onnx").write_text("no model")
    command = [*CLI, "up", "--workers=2", "--address=127.0.0.1:0", f"--models={models}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith(READY):
                break
        assert answers(lines[-1].removeprefix(READY))
        process.terminate()
        rest, complaints = process.communicate(timeout=600)
    assert process.returncode == 0
    text = "\n".join(lines)
    assert "deployed tiny version 1" in text
    assert "──▶ worker-0" in text
    assert "onnxmesh deploy MODEL.onnx" in text
    assert rest.splitlines()[-1] == "stopped"
    assert "broken.onnx is not served: 'broken.onnx' is not an ONNX model" in complaints


def test_up_reports_an_address_in_use(temporary):
    """Exit code 1, one line with the address, no process and no folder."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        done = cli("up", f"--address={address}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: cannot listen on {address}: Address already in use; is a mesh running there? "
        "--address 127.0.0.1:0 takes a free port\n"
    )
    assert folders_in(temporary) == []


def test_up_restores_its_state_after_sigkill(models, tmp_path):
    """With --state, a mesh that was killed has its models and its traffic split again.

    A second mesh is refused meanwhile.
    """
    state = f"--state={tmp_path / 'state'}"
    with LocalMesh("--workers=2", state) as mesh:
        address = mesh.wait_ready(BUSY_S)
        assert cli("deploy", str(models / "tiny.onnx"), "--stages=2", f"--mesh={address}").returncode == 0
        newer = models / "newer.model"
        newer.write_bytes(tiny_model(seed=1).SerializeToString())
        deployed = cli("deploy", str(newer), "--name=tiny", "--percent=10", f"--mesh={address}")
        assert deployed.returncode == 0, deployed.stderr
        second = cli("up", "--address=127.0.0.1:0", state)
        assert (second.returncode, "another `onnxmesh up`" in second.stderr) == (1, True)
        family = psutil.Process(mesh.process.pid).children(recursive=True)
        mesh.process.kill()
        _, left = psutil.wait_procs(family, timeout=600)
        assert left == []
    with LocalMesh("--workers=2", state, f"--models={models}") as mesh:
        address = mesh.wait_ready(BUSY_S)
        first, second = mesh.wait_for(lambda event: event["event"] == "ready", timeout_s=BUSY_S)["status"][
            "models"
        ]
        assert (first["name"], first["version"], len(first["stages"])) == ("tiny", 1, 2)
        assert [model["traffic_percent"] for model in (first, second)] == [90, 10]
        assert [event["event"] for event in mesh.events].count("kept") == 1
        assert answers(address), mesh.events
    assert (tmp_path / "state" / "logs" / "gateway.log").read_text()


def test_up_reports_a_service_that_cannot_start(tmp_path):
    """The last line of its log is printed, no process is left, and the exit code is 1."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "workers").mkdir()
    (state / "workers" / "worker-0").write_text("a file where a folder belongs")
    done = cli("up", "--workers=1", "--address=127.0.0.1:0", f"--state={state}")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: worker-0 ended with exit code")
    mine = [p for p in psutil.process_iter(["cmdline"]) if str(state) in " ".join(p.info["cmdline"] or [])]
    assert mine == []
