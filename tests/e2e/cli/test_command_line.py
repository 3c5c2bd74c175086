"""The command line against a running mesh."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import psutil
import pytest

from examples.tiny_model import SIZES, tiny_model
from onnxmesh.client import MeshClient
from onnxmesh.errors import InvalidRequest, NotFound
from onnxmesh.v1.model_pb2 import DeploymentSpec
from tests.e2e.mesh_process import running_mesh


@pytest.fixture(scope="module")
def mesh():
    with running_mesh("--workers=2") as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    path.write_bytes(tiny_model().SerializeToString())
    return path


def test_commands_deploy_show_infer_and_undeploy(mesh, model, tmp_path):
    """A model in two stages: deployed, listed, run with a trace and saved outputs, undeployed."""
    deployed = json.loads(mesh.run("deploy", str(model), "--stages=2", "--json").stdout)
    assert (deployed["name"], deployed["version"], deployed["state"]) == ("tiny", 1, "READY")
    status = json.loads(mesh.run("status", "--json").stdout)
    (seen,) = status["models"]
    workers = [replica["worker"] for stage in seen["stages"] for replica in stage["replicas"]]
    assert sorted(workers) == ["worker-0", "worker-1"]
    assert {worker["id"] for worker in status["workers"]} == {"worker-0", "worker-1"}
    assert [gateway["address"] for gateway in status["gateways"]] == [mesh.address]

    np.save(tmp_path / "x.npy", np.linspace(-1, 1, 3 * SIZES[0], dtype=np.float32).reshape(3, SIZES[0]))
    out = tmp_path / "out"
    done = mesh.run("infer", "tiny", f"--input=x={tmp_path / 'x.npy'}", "--trace", f"--out={out}", "--json")
    answer = json.loads(done.stdout)
    assert answer["outputs"]["probabilities"]["shape"] == [3, SIZES[-1]]
    assert [hop["stage"] for hop in answer["trace"]["hops"]] == ["tiny/1/0", "tiny/1/1"]
    assert [hop["worker"] for hop in answer["trace"]["hops"]] == workers
    assert all(hop["compute_us"] > 0 for hop in answer["trace"]["hops"])
    expected = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"]).run(
        None, {"x": np.load(tmp_path / "x.npy")}
    )[0]
    assert np.load(out / "probabilities.npy").tobytes() == expected.tobytes()

    shown = mesh.run("infer", "tiny", "--input", "x=random", "--trace").stdout
    assert "worker-0" in shown
    assert "worker-1" in shown
    assert "tiny" in mesh.run("status").stdout

    assert "undeployed tiny version 1" in mesh.run("undeploy", "tiny").stdout
    assert not mesh.status().models
    assert mesh.run("infer", "tiny", "--input", "x=random", check=False).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["infer", "nothing", "--input", "x=random"], 2, "nothing"),
        (["undeploy", "nothing"], 2, "nothing"),
        (["infer", "kept"], 2, "needs inputs: try --input x=random"),
        (["infer", "kept", "--input", "y=random"], 2, "has no input 'y'"),
        (["infer", "kept", "--input", "x=random:2x5"], 2, "x"),
        (["infer", "kept", "--input", "x=random", "--output", "none"], 2, "none"),
        (["infer", "kept", "--input", "x=random", "--version", "7"], 2, "7"),
        (["infer", "kept", "--input", "x=random", "--version", "new"], 2, "new"),
    ],
)
def test_commands_report_bad_input_in_one_line(mesh, model, arguments, exit_code, words):
    """With its exit code; the next valid request is answered."""
    if not any(known.name == "kept" for known in mesh.status().models):
        mesh.deploy(model, name="kept", stages=1)
    done = mesh.run(*arguments, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (exit_code, 1), done.stderr
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    mesh.run("infer", "kept", "--input", "x=random")


@pytest.mark.parametrize(
    ("make", "options", "exit_code", "words"),
    [
        (lambda path: path.write_text("hello, this is no model"), [], 2, "'bad.onnx' is not an ONNX model"),
        (lambda path: path.write_bytes(tiny_model().SerializeToString()[:500]), [], 2, "bad.onnx"),
        (lambda path: path.write_bytes(tiny_model().SerializeToString()), ["--stages=500"], 2, "stages"),
        (
            lambda path: path.write_bytes(tiny_model().SerializeToString()),
            ["--require=quantum"],
            1,
            "quantum",
        ),
        (lambda path: path.write_bytes(tiny_model().SerializeToString()), ["--name=a/b"], 2, "a/b"),
    ],
    ids=["text", "truncated", "stages", "tag", "name"],
)
def test_deploy_reports_an_impossible_deployment_in_one_line(mesh, tmp_path, make, options, exit_code, words):
    """An error in the model or in the spec, with its exit code."""
    path = tmp_path / "bad.onnx"
    make(path)
    done = mesh.run("deploy", str(path), *options, check=False)
    assert done.returncode == exit_code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
    assert "Traceback" not in done.stderr


async def test_client_library_returns_results_and_errors_of_the_mesh(mesh, model):
    """Deployment, inference and their errors, beside tritonclient in one process."""
    import tritonclient.grpc.aio as triton  # noqa: PLC0415 - in one process with onnxmesh.client

    steps = []
    async with MeshClient(mesh.address) as client, triton.InferenceServerClient(mesh.address) as other:
        deployed = await client.deploy(model, DeploymentSpec(name="lib", stages=2), steps.append)
        assert deployed.state == "READY"
        assert len(steps) >= 3
        assert await client.server_ready()
        assert await client.model_ready("lib")
        x = np.ones((2, SIZES[0]), np.float32)
        answer = await client.infer("lib", {"x": x}, trace=True, request_id="seven")
        assert (answer.model, answer.version, answer.request_id) == ("lib", "1", "seven")
        assert answer.trace is not None
        assert len(answer.trace.hops) == 2
        assert sum(hop.compute_us + hop.queue_us for hop in answer.trace.hops) < answer.trace.total_us
        theirs = triton.InferInput("x", [2, SIZES[0]], "FP32").set_data_from_numpy(x)
        result = await other.infer("lib", [theirs])
        assert result.as_numpy("probabilities").tobytes() == answer.outputs["probabilities"].tobytes()
        assert (await client.infer("lib", {"x": x})).trace is None
        with pytest.raises(InvalidRequest, match="x"):
            await client.infer("lib", {"x": x.astype(np.float64)})
        with pytest.raises(NotFound, match="nothing"):
            await client.undeploy("nothing")
        assert await client.undeploy("lib") == [1]


@pytest.mark.parametrize("role", ["gateway", "scheduler", "worker"])
def test_service_help_lists_every_setting(role):
    """`python -m services.ROLE --help` names each field of its settings."""
    command = [sys.executable, "-m", f"services.{role}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    settings = __import__(f"services.{role}.settings", fromlist=["settings"])
    (fields,) = [
        kind.model_fields
        for kind in vars(settings).values()
        if isinstance(kind, type) and kind.__module__ == settings.__name__ and hasattr(kind, "model_fields")
    ]
    assert {"listen", "advertise", "log_level", "exit_with_parent"} <= set(fields)
    for field in fields:
        assert f"--{field.replace('_', '-')}" in done.stdout


def test_service_names_a_wrong_setting(tmp_path):
    """Exit code 2, and the name of the setting."""
    command = [sys.executable, "-m", "services.gateway", "--listen", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 2
    assert "listen" in done.stderr
    assert "Traceback" not in done.stderr


def warnings_of(log):
    """Returns the warnings in a log, without the one of a service that waits long on a busy machine."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    warnings = [line for line in lines if line["level"] not in {"info", "debug"}]
    return [line for line in warnings if line["event"] != "no_scheduler_found"]


def test_a_healthy_mesh_has_no_warning(mesh):
    """`onnxmesh up` prints those of its services, except for a service that waits long on a busy machine."""
    ready = [event["event"] for event in mesh.local.events].index("ready")
    warned = [event for event in mesh.local.events[:ready] if event["event"] == "service_complained"]
    assert [event for event in warned if not event["text"].startswith("no_scheduler_found")] == []


def test_services_started_by_hand_serve_a_model(model, tmp_path):
    """Scheduler, worker and gateway, started one by one as on several machines; a healthy start logs no warning."""
    started = []

    def start(role, *options):
        command = [sys.executable, "-m", f"services.{role}", "--listen=127.0.0.1:0", *options]
        with (tmp_path / f"{role}.log").open("w") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        started.append(process)
        return process.stdout.readline().split()[2]

    try:
        scheduler = start("scheduler", f"--state={tmp_path / 'state'}")
        start(
            "worker",
            f"--scheduler={scheduler}",
            "--id=by-hand",
            "--tags=blue",
            f"--cache={tmp_path / 'cache'}",
        )
        gateway = start("gateway", f"--scheduler={scheduler}")
        assert [warnings_of(tmp_path / f"{role}.log") for role in ("scheduler", "worker", "gateway")] == [
            []
        ] * 3
        command = [sys.executable, "-m", "onnxmesh.cli"]
        deploy = [*command, "deploy", str(model), "--require=blue", f"--mesh={gateway}"]
        done = subprocess.run(deploy, capture_output=True, text=True, check=False, timeout=600)
        assert "deployed tiny version 1" in done.stdout, done.stderr
        infer = [*command, "infer", "tiny", "--input=x=random", "--trace", f"--mesh={gateway}"]
        assert (
            "by-hand" in subprocess.run(infer, capture_output=True, text=True, check=True, timeout=600).stdout
        )
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(300)
            process.stdout.close()
    assert not any(psutil.pid_exists(process.pid) for process in started)


def test_explain_shows_the_pick_and_filtered_workers(mesh, model):
    """With the gateway's measured times and the rule of each filter, as a table and as JSON."""
    mesh.run("deploy", str(model), "--name=explained", "--replicas=2")
    for _ in range(5):
        mesh.run("infer", "explained", "--input=x=random")
    found = json.loads(mesh.run("explain", "explained", "--require=cores >= 1", "--json").stdout)
    (stage,) = found["stages"]
    assert {replica["worker"] for replica in stage["replicas"]} == {"worker-0", "worker-1"}
    assert [replica["rule"] for replica in stage["replicas"]] == ["", ""]
    assert sum(replica["picked"] for replica in stage["replicas"]) == 1
    assert all(int(replica["compute_us"]) > 0 for replica in stage["replicas"])
    shown = mesh.run("explain", "explained", "--require=tpu, cores >= 1").stdout
    assert "no candidate remains" in shown
    assert "requirement: lacks 'tpu'" in " ".join(shown.split())
    mesh.run("undeploy", "explained")
