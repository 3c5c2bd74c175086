"""The client library: deploy models to a mesh, ask about them, run them.

Needs the base install alone, and lives in one process with other Open Inference clients.
"""

from onnxmesh.client.answer import Answer
from onnxmesh.client.local_mesh import LocalMesh
from onnxmesh.client.mesh_client import MeshClient
from onnxmesh.client.route_options import RouteOptions
from onnxmesh.client.trace import HopTrace, RouteTrace

__all__ = ["Answer", "HopTrace", "LocalMesh", "MeshClient", "RouteTrace", "RouteOptions"]
