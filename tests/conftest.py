"""Settings of every test."""

from __future__ import annotations

import gc

import pytest
from hypothesis import settings

import onnxmesh  # noqa: F401 - before ONNX Runtime, whose telemetry it disables
from tests.data_planes import BOTH

# No test depends on the speed of the machine.
settings.register_profile("onnxmesh", deadline=None)
settings.load_profile("onnxmesh")


def pytest_collection_finish():
    """Some tests collect garbage often: objects that exist by now are excluded from it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _brief_profiles():
    """Shortens the profiling of models in schedulers that tests start as processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXMESH_PROFILE_S", "0.1")
        yield


@pytest.fixture(params=BOTH, ids=str)
def data_plane(request, monkeypatch):
    """Runs a test on each data plane: services in this process and in others use its settings."""
    for name, value in request.param.settings:
        monkeypatch.setenv(name, value)
    return request.param
