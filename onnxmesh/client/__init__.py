"""The Python client of a mesh: deploys models, sends requests and reads the state. Needs the base install only."""

from onnxmesh.client.infer_result import InferResult
from onnxmesh.client.local_mesh import LocalMesh
from onnxmesh.client.mesh_client import MeshClient
from onnxmesh.client.route_options import RouteOptions
from onnxmesh.client.trace import HopTrace, RouteTrace

__all__ = ["HopTrace", "InferResult", "LocalMesh", "MeshClient", "RouteOptions", "RouteTrace"]
