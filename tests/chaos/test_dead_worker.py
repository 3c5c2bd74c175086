"""Workers that die under traffic."""

from __future__ import annotations

import threading
from time import monotonic

import pytest
from tritonclient import grpc as triton

from tests.e2e.mesh_process import running_mesh
from tests.zoo import ZOO


def request():
    return [
        triton.InferInput(name, list(array.shape), "FP32").set_data_from_numpy(array)
        for name, array in ZOO["mlp"].inputs(1, 1).items()
    ]


class Traffic:
    """Clients that ask without pause; every answer and every failure is counted, with how long it took."""

    def __init__(self, address, num_clients):
        self.answers = 0
        self.failures = []
        self.longest_s = 0.0
        self._address = address
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(num_clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self):
        with triton.InferenceServerClient(self._address) as client:
            while not self._stop.is_set():
                began = monotonic()
                try:
                    client.infer("mlp", request(), client_timeout=30)
                    failure = None
                except triton.InferenceServerException as error:
                    failure = (error.status(), error.message())
                with self._lock:
                    self.longest_s = max(self.longest_s, monotonic() - began)
                    if failure:
                        self.failures.append(failure)
                    else:
                        self.answers += 1

    def wait_for(self, num_answers, timeout_s=60):
        """Returns once so many more answers have come."""
        goal, end = self.answers + num_answers, monotonic() + timeout_s
        while self.answers < goal:
            assert monotonic() < end, f"{self.answers} of {goal} answers; failures: {self.failures[-3:]}"
            threading.Event().wait(0.02)


@pytest.fixture
def model(tmp_path):
    return ZOO["mlp"].build(tmp_path)


def test_another_replica_takes_over(model):
    """With two replicas of each stage, killing a worker under traffic fails no request."""
    with running_mesh("--workers=2") as mesh:
        mesh.deploy(model, name="mlp", stages=2, replicas=2)
        with Traffic(mesh.address, 4) as traffic:
            traffic.wait_for(200)
            for name in ("worker-0", "worker-1"):
                mesh.kill(name)
                traffic.wait_for(500)
                traffic_waits_until(mesh, traffic, num_replicas=4)
        assert traffic.failures == []


def traffic_waits_until(mesh, traffic, num_replicas):
    """Returns once all replicas are ready again, so that the next kill leaves one."""
    end = monotonic() + 60
    while True:
        (model,) = mesh.status().models
        ready = [replica for replica in model.replicas if replica.state == "READY"]
        if len(ready) == num_replicas:
            return
        assert monotonic() < end, model
        traffic.wait_for(1)


def test_without_another_replica_the_client_is_told_at_once(model):
    """With one replica, requests fail as UNAVAILABLE, never hang, and work again by themselves."""
    with running_mesh("--workers=1") as mesh:
        mesh.deploy(model, name="mlp", stages=2)
        with Traffic(mesh.address, 4) as traffic:
            traffic.wait_for(100)
            mesh.kill("worker-0")
            traffic.wait_for(200)
        assert traffic.failures
        assert {status for status, _ in traffic.failures} == {"StatusCode.UNAVAILABLE"}


def test_the_mesh_answers_without_its_scheduler(model):
    """The scheduler is on no request's path: killing it fails nothing, and its successor takes over."""
    with running_mesh("--workers=2") as mesh:
        mesh.deploy(model, name="mlp", stages=2)
        with Traffic(mesh.address, 2) as traffic:
            traffic.wait_for(100)
            mesh.kill("scheduler")
            traffic.wait_for(1000)
        assert traffic.failures == []
