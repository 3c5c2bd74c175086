"""`python -m onnxmesh.service.health`: health probe for containers and scripts.

It has few imports, because a probe runs every few seconds.
"""

from __future__ import annotations

import os
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

PROBE_TIMEOUT_S = 4.0
"""Time-out of a probe."""

USAGE = "usage: python -m onnxmesh.service.health [HOST:PORT [SERVICE]]"

_EVERY_HOST = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
_ServingStatus = health_pb2.HealthCheckResponse.ServingStatus


def health_of(address: str, service: str = "", timeout_s: float = PROBE_TIMEOUT_S) -> str:
    """Returns the health of a service of the process at `address`.

    Args:
        address: HOST:PORT.
        service: Its name in the health service; empty for the whole process.
        timeout_s: Time-out of the call.

    Returns:
        `SERVING`, `NOT_SERVING`, or the name of the gRPC status of a failed call.
    """
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=timeout_s
            )
        except grpc.RpcError as error:
            return str(error.code().name)
    return str(_ServingStatus.Name(answer.status))


def reachable(listened: str) -> str:
    """Returns the address at which this host reaches a service that listens on `listened`, which may be every address."""
    host, _, port = listened.rpartition(":")
    return f"{_EVERY_HOST.get(host, host)}:{port}"


def main(arguments: list[str], listened: str | None) -> int:
    """Prints the health of a service.

    Args:
        arguments: HOST:PORT and a service's name, both optional.
        listened: The address that the service of this container listens on, the default of HOST:PORT.

    Returns:
        Exit status: 0 if it serves, 1 if not, 2 if there is no address.
    """
    address, *rest = arguments or ([reachable(listened)] if listened else [""])
    if ":" not in address or len(rest) > 1:
        sys.stderr.write(f"{USAGE}; without arguments the address is ONNXMESH_LISTEN\n")
        return 2
    health = health_of(address, rest[0] if rest else "")
    sys.stdout.write(f"{health}\n")
    return 0 if health == "SERVING" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ.get("ONNXMESH_LISTEN")))
