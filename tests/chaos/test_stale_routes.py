"""A mesh whose only scheduler dies, on real processes, under traffic from Triton's client."""

from __future__ import annotations

import json
import re
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient import grpc as triton
from typer.testing import CliRunner

from onnxmesh.cli.app import app
from tests.chaos.traffic import Traffic
from tests.fakes.service_processes import ServiceProcesses, call_mesh, deploy, until
from tests.zoo import ZOO

pytestmark = pytest.mark.timeout(1200)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def request():
    return [
        triton.InferInput(name, list(array.shape), "FP32").set_data_from_numpy(array)
        for name, array in ZOO["mlp"].inputs(1, 1).items()
    ]


def health(address, service):
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=300).status


class Metrics:
    """The Prometheus metrics of one service, fetched at each access."""

    def __init__(self, log):
        self.address = re.search(r'"metrics": "([^"]+)"', log).group(1)

    def __getitem__(self, sample):
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=300) as answer:
            text = answer.read().decode()
        (line,) = [line for line in text.splitlines() if line.startswith(f"{sample} ")]
        return float(line.rpartition(" ")[2])


def status_command(gateway, *options):
    """Returns exit code and output of `onnxmesh status`."""
    done = CliRunner().invoke(app, ["status", "--mesh", gateway, *options])
    return done.exit_code, done.stdout


def test_stale_route_table_is_served_and_reported_without_a_scheduler(tmp_path):
    """Health, metrics and `onnxmesh status` report it, and no request fails; after the restart it is current again."""
    model = ZOO["mlp"].build(tmp_path)
    with ServiceProcesses(tmp_path, "--metrics=127.0.0.1:0") as mesh:
        scheduler = f"--scheduler={mesh.start('scheduler-1')}"
        mesh.start("worker-1", scheduler, "--threads=1", "--no-measure")
        gateway = mesh.start("gateway-1", scheduler)
        until(lambda: len(call_mesh(gateway, lambda client: client.status(timeout=300)).workers) == 1)
        deploy(gateway, model, name="mlp", stages=2)
        until(lambda: health(gateway, "mesh.model/mlp") == SERVING)
        metrics = Metrics(mesh.log("gateway-1"))
        assert health(gateway, "mesh.routes") == SERVING
        assert metrics["onnxmesh_gateway_route_table_stale"] == 0
        of_worker, of_scheduler = Metrics(mesh.log("worker-1")), Metrics(mesh.log("scheduler-1"))
        assert of_scheduler["onnxmesh_scheduler_leading"] == 1
        assert of_scheduler["onnxmesh_scheduler_workers"] == 1
        assert of_scheduler['onnxmesh_scheduler_models{state="complete"}'] == 1
        assert of_scheduler['onnxmesh_scheduler_models{state="incomplete"}'] == 0
        assert of_scheduler['onnxmesh_scheduler_commands_total{command="place_stage"}'] == 2
        epoch = metrics["onnxmesh_gateway_route_table_epoch"]
        assert epoch == of_scheduler["onnxmesh_scheduler_route_table_epoch"]
        code, shown = status_command(gateway)
        assert (code, "updated by scheduler" in shown) == (0, True)
        with Traffic(gateway, 2, "mlp", request, "probabilities") as traffic:
            traffic.wait_for(50)
            mesh.kill("scheduler-1")
            until(lambda: health(gateway, "mesh.routes") == NOT_SERVING)
            assert metrics["onnxmesh_gateway_route_table_stale"] == 1
            assert metrics["onnxmesh_gateway_scheduler_unheard_seconds"] > 0
            assert metrics["onnxmesh_gateway_route_table_epoch"] == epoch
            assert (health(gateway, ""), health(gateway, "mesh.model/mlp")) == (SERVING, SERVING)
            code, shown = status_command(gateway, "--json")
            assert code == 1
            assert json.loads(shown)["gateway"]["stale"]
            code, shown = status_command(gateway)
            assert code == 1
            assert f"gateway gateway-1: route table {epoch:.0f}" in " ".join(shown.split())
            traffic.wait_for(50)
            mesh.start("scheduler-1")
            until(lambda: health(gateway, "mesh.routes") == SERVING)
            assert metrics["onnxmesh_gateway_route_table_stale"] == 0
            assert metrics["onnxmesh_gateway_scheduler_unheard_seconds"] == 0
            until(lambda: metrics["onnxmesh_gateway_route_table_epoch"] > epoch)
            traffic.wait_for(50)
        assert traffic.failures == []
        assert metrics['onnxmesh_gateway_requests_total{code="OK",model="mlp",version="1"}'] >= 150
        assert of_worker['onnxmesh_worker_requests_total{outcome="completed"}'] >= 300
        assert of_worker['onnxmesh_worker_compute_seconds_count{stage="mlp/1/0"}'] >= 150
        assert of_worker['onnxmesh_worker_requests_queued{stage="mlp/1/1"}'] >= 0
        assert of_worker["onnxmesh_worker_resident_bytes"] > 0
        mesh.stop("worker-1")
