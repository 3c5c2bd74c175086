"""What a process keeps of freed memory."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from onnxmesh.freed_memory import keep_freed_memory

keep_freed_memory()
for round in range(100):
    if round == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [bytes(1 << 20), bytes(3 << 20)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library can be told so")
def test_blocks_of_megabytes_do_not_go_back_and_forth():
    """Each would cost a page fault for every 4 KiB: 90,000 here."""
    run = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 2000
