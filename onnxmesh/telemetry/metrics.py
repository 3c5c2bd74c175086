"""Figures for Prometheus, served over HTTP where an operator asks for it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server


def process_registry() -> CollectorRegistry:
    """Returns a new registry with what the operating system says of this process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


class MetricsServer:
    """Serves a registry over HTTP, from a thread of its own, until it is closed.

    Attributes:
        address: HOST:PORT at which it is reached.

    Args:
        address: HOST:PORT to serve on; port 0 takes a free one.
        registry: Its collectors are called in that thread.

    Raises:
        SystemExit: The address cannot be had.
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
