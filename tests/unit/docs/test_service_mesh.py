"""docs/service-mesh.md says what the code and the images do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from onnxmesh.v1 import blobs_pb2, frame_pb2, mesh_pb2, registry_pb2, worker_pb2
from services.gateway.inference.servicer import SERVICE
from services.gateway.routes.model_health import PREFIX
from services.gateway.settings import GatewaySettings

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "service-mesh.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def port_of(role):
    """Returns the port that the image of a role listens on; a gateway's is its default everywhere."""
    target = re.search(rf"^FROM \S+ AS {role}$(.*?)(?=^FROM |\Z)", DOCKERFILE, re.DOTALL | re.MULTILINE)
    (listened,) = re.findall(r"ONNXMESH_LISTEN=0\.0\.0\.0:(\d+)", target[1])
    assert re.findall(r"^EXPOSE (\d+)$", target[1], re.MULTILINE) == [listened]
    return int(listened)


def documents(kind):
    (text,) = re.findall(rf"^```yaml {kind}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    return list(yaml.safe_load_all(text))


def row(role):
    (line,) = re.findall(rf"^\| {role} \| \d+ \|.*$", TEXT, re.MULTILINE)
    return line


def test_service_mesh_page_has_the_default_port_of_the_gateway():
    """Image, setting and table agree."""
    default = GatewaySettings.model_fields["listen"].default
    assert default == f"127.0.0.1:{port_of('gateway')}"


@pytest.mark.parametrize("role", ["gateway", "scheduler", "worker"])
def test_service_mesh_page_has_the_ports_of_the_images(role):
    """The default listening address of a service."""
    assert row(role).startswith(f"| {role} | {port_of(role)} |")


def test_service_mesh_page_has_the_names_of_services_and_health():
    """The table is what a proxy's configuration is copied from."""
    files = (blobs_pb2, frame_pb2, mesh_pb2, registry_pb2, worker_pb2)
    known = {service.full_name for file in files for service in file.DESCRIPTOR.services_by_name.values()} | {
        SERVICE
    }
    named = set(re.findall(r"`((?:onnxmesh\.v1|inference)\.\w+)`", TEXT))
    assert named == known
    assert f"`{PREFIX}NAME`" in row("gateway")


def test_service_mesh_page_lists_the_long_lived_calls():
    """The table of calls names methods that there are, and those with streams in both directions or without an end."""
    for name in re.findall(r"^\| `(\w+)/(\w+)` \|", TEXT, re.MULTILINE):
        if name[0] != "GRPCInferenceService":
            (found,) = [
                method
                for file in (frame_pb2, mesh_pb2, registry_pb2, worker_pb2)
                for service in file.DESCRIPTOR.services_by_name.values()
                if service.name == name[0]
                for method in service.methods
                if method.name == name[1]
            ]
            assert found.server_streaming


def test_service_mesh_page_has_a_valid_envoy_example():
    """Valid YAML; its cluster is the gateways' port, over HTTP/2, with the health of the process and streams without limit."""
    (config,) = documents("envoy")
    (cluster,) = config["static_resources"]["clusters"]
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"]["port_value"] == port_of("gateway")
    (protocol,) = cluster["typed_extension_protocol_options"].values()
    assert "http2_protocol_options" in protocol["explicit_http_config"]
    assert cluster["health_checks"][0]["grpc_health_check"] == {"service_name": ""}
    (manager,) = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    assert manager["typed_config"]["stream_idle_timeout"] == "0s"
    (host,) = manager["typed_config"]["route_config"]["virtual_hosts"]
    assert {route["route"]["timeout"] for route in host["routes"]} == {"0s"}
    assert host["routes"][0]["match"]["prefix"] == f"/{SERVICE}/"
    assert {route["route"]["cluster"] for route in host["routes"]} == {cluster["name"]}


def test_service_mesh_page_has_valid_kubernetes_services():
    """The images' ports, with an appProtocol; nothing balances connections to workers and schedulers."""
    for service in documents("kubernetes"):
        role = service["metadata"]["name"].removeprefix("onnxmesh-")
        (port,) = service["spec"]["ports"]
        assert port["port"] == port["targetPort"] == port_of(role)
        assert port["appProtocol"] in {"kubernetes.io/h2c", "grpc"}
        assert (service["spec"].get("clusterIP") == "None") == (role != "gateway")
    assert len(documents("kubernetes")) == 3
