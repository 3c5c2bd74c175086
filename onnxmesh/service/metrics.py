"""Metrics for Prometheus, served over HTTP."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server


def process_registry() -> CollectorRegistry:
    """Returns a new registry with the operating system's metrics of this process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


class MetricsServer:
    """HTTP server of a registry, in a thread of its own, until it is closed.

    Attributes:
        address: HOST:PORT of the server.

    Args:
        address: HOST:PORT to listen on; port 0 uses a free one.
        registry: Its collectors are called in that thread.

    Raises:
        SystemExit: The address cannot be bound.
    """

    def __init__(self, address: str, registry: CollectorRegistry) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._server, self._thread = start_http_server(int(port), host.strip("[]"), registry)
        except OSError as error:
            raise SystemExit(f"cannot serve metrics on {address}: {error.strerror or error}") from error
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Stops serving; blocks for up to half a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
