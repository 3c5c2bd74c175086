"""Whether a process sends tensors in fewer bytes, as an operator says."""

from __future__ import annotations

import pytest

from services.gateway.settings import GatewaySettings
from services.worker.settings import WorkerSettings

KINDS = ((GatewaySettings, {"scheduler": "h:1"}), (WorkerSettings, {}))


@pytest.mark.parametrize(("kind", "needed"), KINDS)
def test_compression_is_on_where_it_pays_unless_disabled(kind, needed, monkeypatch):
    """By a flag or by the environment; anything else is refused."""
    assert kind(_cli_parse_args=False, **needed).compression == "auto"
    assert kind(_cli_parse_args=["--compression=off"], **needed).compression == "off"
    monkeypatch.setenv("ONNXMESH_COMPRESSION", "off")
    assert kind(_cli_parse_args=False, **needed).compression == "off"
    with pytest.raises(ValueError, match="'auto' or 'off'"):
        kind(_cli_parse_args=False, compression="zstd", **needed)
