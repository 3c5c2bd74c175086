"""The mesh of docker-compose.yml in containers, in this order: start, use, failures, scaling, restart, stop."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import pytest
from tritonclient import grpc as triton

from examples.tiny_model import tiny_model
from tests.chaos.traffic import Traffic
from tests.compose.compose_project import ROOT, docker
from tests.fakes.service_processes import until

pytestmark = pytest.mark.timeout(1800)

BASE = "python:3.13-slim-trixie"
OWN = ("scheduler-0", "scheduler-1", "gateway-0", "gateway-1", "worker", "worker-b", "worker-edge")
(PROGRAM,) = re.findall(
    r"^```python\n(import numpy as np\nimport tritonclient.*?)^```",
    (ROOT / "README.md").read_text(),
    re.DOTALL | re.MULTILINE,
)
X = np.ones((2, 4), np.float32)


def inputs():
    x = triton.InferInput("x", list(X.shape), "FP32")
    x.set_data_from_numpy(X)
    return [x]


@pytest.fixture(scope="module")
def tiny(project, tmp_path_factory):
    """The README's model, deployed from this machine in two stages of two replicas; gives the whole model's answer."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    path.write_bytes(tiny_model().SerializeToString())
    project.command("deploy", str(path), "--stages=2", "--replicas=2")
    (expected,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": X})
    return path, expected


def test_containers_are_healthy_and_serve_a_model(project):
    """Two schedulers, two gateways, three workers, Consul and Redis are healthy, and the demo's model is cut over two workers."""
    status = project.status()
    (model,) = [model for model in status["models"] if model["name"] == "magika"]
    assert model["state"] == "READY"
    assert [len(stage["replicas"]) for stage in model["stages"]] == [2, 2]
    assert len({replica["worker"] for stage in model["stages"] for replica in stage["replicas"]}) >= 2
    assert len(status["workers"]) == 3
    tags = [set(worker["tags"]) for worker in status["workers"]]
    assert len([each for each in tags if "rack" in each]) == 2
    assert len([each for each in tags if "edge" in each]) == 1
    assert {worker["attributes"]["zone"] for worker in status["workers"]} == {"a", "b"}


def test_readme_program_works_from_outside(project, tiny, tmp_path):
    """A client on the host needs the published port and tritonclient, and gets the whole model's answer."""
    _, expected = tiny
    assert "127.0.0.1:8001" in PROGRAM
    (tmp_path / "program.py").write_text(PROGRAM.replace("127.0.0.1:8001", project.address))
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300
    )
    printed = np.array(re.findall(r"[0-9.e-]+", done.stdout), np.float32).reshape(expected.shape)
    np.testing.assert_allclose(printed, expected, rtol=1e-5)


def test_images_are_small_and_carry_what_they_need(project, figures):
    """Gateway and scheduler add under 200 MB to their base and have no ONNX Runtime, a worker adds under 450 MB."""
    base = size_of(BASE)
    for role, limit in (("gateway", 200e6), ("scheduler", 200e6), ("worker", 450e6)):
        added = size_of(f"onnxmesh-{role}") - base
        figures.append(f"image {role}: {added / 1e6:.0f} MB on its base")
        assert added < limit
        # Anonymous volumes would be left behind by `down`.
        assert not json.loads(docker("image", "inspect", f"onnxmesh-{role}"))[0]["Config"].get("Volumes")
    found = "import importlib.util as u; print([n for n in ('onnx', 'onnxruntime', 'pip', 'setuptools') if u.find_spec(n)])"
    for role, expected in (("gateway", []), ("scheduler", []), ("worker", ["onnx", "onnxruntime"])):
        # -S leaves out the base image's own packages, where its pip is.
        modules = docker(
            "run", "--rm", "--network=none", "--entrypoint=python", f"onnxmesh-{role}", "-c", found
        )
        assert modules.strip() == str(expected)


def test_workers_have_the_default_locale_of_onnx_runtime(project):
    """Text models of scikit-learn need it; the image has it, and workers report it."""
    found = (
        "from onnxmesh.device.locales import installed_labels as found; print('locale.en_US.utf8' in found())"
    )
    assert (
        docker("run", "--rm", "--network=none", "--entrypoint=python", "onnxmesh-worker", "-c", found).strip()
        == "True"
    )


def size_of(image):
    return json.loads(docker("image", "inspect", image))[0]["Size"]


@pytest.mark.parametrize("service", OWN)
def test_containers_are_closed(project, service):
    """No process runs as root or has a capability; only volumes and /tmp are writable; Docker checks health; labels describe the image."""
    (container,) = project.containers(service).values()
    config, host = container["Config"], container["HostConfig"]
    assert config["User"] == "10001:10001"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "onnxmesh.service.health"]
    assert config["StopTimeout"] > 10
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_logs_are_json(project):
    """Every line of every service is a JSON object with the service and the level."""
    for service in OWN:
        (name,) = project.containers(service)
        done = subprocess.run(
            ["docker", "logs", name], capture_output=True, text=True, check=True, timeout=300
        )
        lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
        assert lines
        assert [line for line in lines if not {"service", "level", "event", "timestamp"} <= set(line)] == []


def test_container_stops_at_once_on_a_wrong_setting(project):
    """The container ends with status 2 and one line that names the setting."""
    done = project.compose(
        "run", "--rm", "--no-deps", "--env=ONNXMESH_THREADS=none", "worker", check=False, timeout_s=300
    )
    assert done.returncode == 2
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "onnxmesh-test" not in line]
    assert line.startswith("worker: --threads (ONNXMESH_THREADS): expected ")


def test_deploying_the_same_again_changes_nothing(project):
    """The job runs at every `up`, and finds that its model is there."""
    done = project.compose("run", "--rm", "--no-deps", "-T", "demo")
    assert "magika version 1" in done.stdout
    assert [model["version"] for model in project.status()["models"] if model["name"] == "magika"] == [1]


def test_requests_are_answered_while_containers_are_killed_and_stopped(project, tiny, figures):
    """A worker is killed and another stopped, the leading scheduler killed, Redis restarted: every request is answered."""
    with Traffic(project.address, 4, "tiny", inputs, "probabilities") as traffic:
        traffic.wait_for(50)
        project.compose("kill", "worker-b")
        traffic.wait_for(50)
        leader = json.loads(
            project.compose("exec", "-T", "consul", "consul", "kv", "get", "onnxmesh/leader").stdout
        )
        project.compose("kill", leader["id"])
        traffic.wait_for(50)
        project.compose("restart", "redis")
        traffic.wait_for(50)
        project.compose("start", "worker-b", leader["id"])
        project.wait_healthy()
        until(lambda: two_replicas(project, "tiny"), 60)
        project.compose("stop", "worker-edge")
        traffic.wait_for(50)
        project.compose("start", "worker-edge")
        project.wait_healthy()
        traffic.wait_for(50)
    figures.append(
        f"worker and leader killed, Redis restarted, worker stopped: {traffic.answers} answers, "
        f"{len(traffic.failures)} failures, longest {traffic.longest_s:.2f} s"
    )
    assert traffic.failures == []
    assert len(traffic.different) == 1


def two_replicas(project, name):
    """Whether every stage of a model has two replicas on workers that are there."""
    (model,) = [model for model in project.status()["models"] if model["name"] == name]
    return all(len(stage["replicas"]) >= 2 for stage in model["stages"])


def test_new_connections_go_to_the_other_gateway(project, tiny):
    """A gateway that is killed loses its own connections; new ones reach the other gateway at the same port."""
    _, expected = tiny
    project.compose("kill", "gateway-0")
    for _ in range(5):
        with triton.InferenceServerClient(project.address) as client:
            answer = client.infer("tiny", inputs(), client_timeout=200).as_numpy("probabilities")
        np.testing.assert_allclose(answer, expected, rtol=1e-5)
    project.compose("start", "gateway-0")
    project.wait_healthy()


def test_scaled_workers_join_and_are_used(project, tiny):
    """After `--scale worker=5` seven workers are there, and requests run on each that a deployment requires."""
    path, _ = tiny
    began = time.monotonic()
    project.compose("up", "--detach", "--no-recreate", "--scale=worker=5")
    until(lambda: len(project.status()["workers"]) == 7, 120)
    project.command("deploy", str(path), "--name=wide", "--stages=1", "--replicas=7")
    used = set()
    with triton.InferenceServerClient(project.address) as client:
        while len(used) < 7:
            assert time.monotonic() < began + 240, used
            answer = client.infer("wide", inputs(), parameters={"mesh.trace": True}, client_timeout=200)
            trace = json.loads(answer.get_response().parameters["mesh.trace"].string_param)
            used |= {hop["worker"] for hop in trace["hops"]}


def test_gateways_are_restarted_with_the_network_that_they_have(project):
    """Who restarts `front` restarts both gateways, which would have no network otherwise."""
    plain = json.loads(project.compose("config", "--format=json").stdout)["services"]
    for gateway in ("gateway-0", "gateway-1"):
        assert plain[gateway]["network_mode"] == "service:front"
        assert plain[gateway]["depends_on"]["front"]["restart"] is True


def test_restart_brings_the_models_back(project, tiny):
    """After `restart` of everything, what was deployed is served again without anybody's doing."""
    _, expected = tiny
    project.compose("restart", timeout_s=600)
    project.wait_healthy()
    with triton.InferenceServerClient(project.address) as client:
        until(lambda: client.is_model_ready("tiny") and client.is_model_ready("magika"), 120)
        answer = client.infer("tiny", inputs(), client_timeout=200).as_numpy("probabilities")
    np.testing.assert_allclose(answer, expected, rtol=1e-5)


def test_workers_with_a_gpu_are_a_profile(project):
    """`--profile gpu` adds a worker that is built with `worker-gpu` and reserves a GPU; without it no service reserves one."""
    plain = json.loads(project.compose("config", "--format=json").stdout)["services"]
    assert "worker-gpu" not in plain
    worker = json.loads(project.compose("--profile=gpu", "config", "--format=json").stdout)["services"][
        "worker-gpu"
    ]
    assert worker["build"]["args"] == {"LOCK": "worker-gpu"}
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_compose_down_leaves_nothing(project, figures):
    """Every service of ours stops cleanly on SIGTERM; after `down --volumes` there is no container, volume or network."""
    began = time.monotonic()
    project.compose("stop", timeout_s=600)
    figures.append(f"stopped in {time.monotonic() - began:.1f} s")
    for service in OWN:
        assert {each["State"]["ExitCode"] for each in project.containers(service).values()} == {0}
    project.compose("down", "--volumes", "--remove-orphans")
    assert project.left() == []
