"""Settings of every service."""

from __future__ import annotations

import socket

import pytest
from pydantic import ValidationError

from onnxmesh.service.settings.service import ServiceSettings


def test_place_has_the_host_and_what_is_set():
    assert ServiceSettings().place() == {"host": socket.gethostname()}
    assert ServiceSettings(region="r", zone="z").place() == {
        "region": "r",
        "zone": "z",
        "host": socket.gethostname(),
    }


@pytest.mark.parametrize(
    "wrong", [{"listen": "x"}, {"advertise": "h:99999"}, {"metrics": "9090"}, {"drain_s": -1}]
)
def test_service_settings_are_validated(wrong):
    with pytest.raises(ValidationError):
        ServiceSettings(**wrong)


def test_service_settings_read_the_environment(monkeypatch):
    monkeypatch.setenv("ONNXMESH_ZONE", "eu")
    assert ServiceSettings().zone == "eu"
