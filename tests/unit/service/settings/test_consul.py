"""Settings of the connection to Consul."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from onnxmesh.service.settings.consul import ConsulSettings


def test_consul_access_has_every_setting():
    settings = ConsulSettings(
        consul="https://consul.example:8501",
        consul_token="secret",
        consul_datacenter="dc",
        consul_ca="/ca",
        consul_cert="/cert",
        consul_key="/key",
        consul_prefix="mesh",
    )
    access = settings.consul_access()
    assert (access.address, access.token, access.datacenter, access.prefix) == (
        "https://consul.example:8501",
        "secret",
        "dc",
        "mesh",
    )
    assert [str(each) for each in (access.ca, access.cert, access.key)] == ["/ca", "/cert", "/key"]
    assert "secret" not in repr(access) + repr(settings)


def test_consul_access_is_none_without_consul():
    assert ConsulSettings().consul_access() is None


@pytest.mark.parametrize("wrong", [{"consul": "ftp://x"}, {"consul_prefix": "A b"}, {"consul_check": "http"}])
def test_consul_settings_are_validated(wrong):
    with pytest.raises(ValidationError):
        ConsulSettings(**wrong)
