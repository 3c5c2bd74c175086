"""`python -m services.gateway`: a gateway of one process or several, configured by flags or environment."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from onnxmesh.service.run_service import run_service
from onnxmesh.service.serving import ServiceEndpoint
from services.gateway.app import gateway_app
from services.gateway.processes import gateway_processes
from services.gateway.settings import GatewaySettings


def main() -> None:
    """Runs a gateway until it is stopped."""
    run_service("gateway", GatewaySettings, _gateway)


def _gateway(settings: GatewaySettings) -> AbstractAsyncContextManager[ServiceEndpoint]:
    return gateway_app(settings) if settings.processes == 1 else gateway_processes(settings)


if __name__ == "__main__":
    main()
