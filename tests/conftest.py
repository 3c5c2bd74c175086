"""What holds for every test."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.data_planes import BOTH

# No test depends on how fast the machine is.
settings.register_profile("onnxmesh", deadline=None)
settings.load_profile("onnxmesh")


@pytest.fixture(autouse=True)
def _brief_profiles(monkeypatch):
    """Schedulers that a test starts as processes measure models for a moment, not for seconds."""
    monkeypatch.setenv("ONNXMESH_PROFILE_S", "0.1")


@pytest.fixture(params=BOTH, ids=str)
def data_plane(request, monkeypatch):
    """Runs a test on each data plane: services that it makes, in this process or as others, take these settings."""
    for name, value in request.param.settings:
        monkeypatch.setenv(name, value)
    return request.param
