"""What holds for every test."""

from __future__ import annotations

import gc

import pytest
from hypothesis import settings

import onnxmesh  # noqa: F401 - before ONNX Runtime, which it keeps from telling others
from tests.data_planes import BOTH

# No test depends on how fast the machine is.
settings.register_profile("onnxmesh", deadline=None)
settings.load_profile("onnxmesh")


def pytest_collection_finish():
    """Tests that see what is left have cycles collected time and again: those of what is loaded by now need no look."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _brief_profiles():
    """Schedulers that tests start as processes measure models for a moment, not for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXMESH_PROFILE_S", "0.1")
        yield


@pytest.fixture(params=BOTH, ids=str)
def data_plane(request, monkeypatch):
    """Runs a test on each data plane: services that it makes, in this process or as others, take these settings."""
    for name, value in request.param.settings:
        monkeypatch.setenv(name, value)
    return request.param
