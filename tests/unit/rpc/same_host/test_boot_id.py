"""The identity of this host's kernel."""

from __future__ import annotations

import subprocess
import sys
from uuid import UUID

from onnxmesh.rpc.same_host.boot_id import boot_id


def test_boot_id_is_that_of_every_process_of_the_host():
    """A UUID, the same in another process."""
    read = "from onnxmesh.rpc.same_host.boot_id import boot_id; print(boot_id())"
    other = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == boot_id() == str(UUID(boot_id()))
