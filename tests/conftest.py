"""What holds for every test."""

from __future__ import annotations

import pytest
from hypothesis import settings

# No test depends on how fast the machine is.
settings.register_profile("onnxmesh", deadline=None)
settings.load_profile("onnxmesh")


@pytest.fixture(autouse=True)
def _brief_profiles(monkeypatch):
    """Schedulers that a test starts as processes measure models for a moment, not for seconds."""
    monkeypatch.setenv("ONNXMESH_PROFILE_S", "0.1")
