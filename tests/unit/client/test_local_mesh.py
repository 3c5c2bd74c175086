"""A mesh as a child process."""

from __future__ import annotations

import pytest

from onnxmesh.client import LocalMesh
from tests.eventually import BUSY_S


def test_local_mesh_reports_a_mesh_that_exits():
    """Wrong options end it before it is ready; nothing is left running."""
    with LocalMesh("--workers=1", "--zones=a,,b") as mesh:
        with pytest.raises(RuntimeError, match="the mesh exited with code 2"):
            mesh.wait_ready(BUSY_S)
        assert mesh.pids == {}
    assert mesh.running_pids == []
