"""`python -m services.gateway`: one gateway, configured by flags or environment."""

from __future__ import annotations

from onnxmesh.service import run_service
from services.gateway.app import gateway_app
from services.gateway.settings import GatewaySettings


def main() -> None:
    """Runs a gateway until it is told to stop."""
    run_service("gateway", GatewaySettings, gateway_app)


if __name__ == "__main__":
    main()
