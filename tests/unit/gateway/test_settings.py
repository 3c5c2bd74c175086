"""Settings of a gateway; those that are refused are in tests/integration/gateway/test_process.py."""

from __future__ import annotations

import pytest

from onnxmesh.device.resources import available_cores
from services.gateway.settings import GatewaySettings


def settings(**given):
    return GatewaySettings(scheduler="h:1", _cli_parse_args=False, **given)


@pytest.mark.parametrize("given", ["auto", 3, "3"])
def test_processes_is_a_number_or_one_for_each_core(given):
    """Of the cores that this process may use, not those of the machine."""
    assert settings(processes=given).processes == (available_cores() if given == "auto" else 3)


def test_id_is_random_by_default():
    """Two gateways without a name do not collide."""
    assert settings().id != settings().id
    assert settings().id.startswith("gateway-")
