"""What a process keeps of freed memory."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
from onnxmesh.service.freed_memory import keep_freed_memory

keep_freed_memory()
for round in range(100):
    if round == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [bytes(1 << 20), bytes(3 << 20)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


THREADS = """
from threading import Barrier, Thread
from onnxmesh.service.freed_memory import keep_freed_memory
from services.worker.machine.load import resident_bytes

def use():
    bytearray(b"x") * (20 << 20)
    done.wait()

keep_freed_memory()
done = Barrier(5)
before = resident_bytes()
for _ in range(4):
    Thread(target=use).start()
done.wait()
print(resident_bytes() - before)
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only the GNU C library has this setting"
)


def printed(program):
    return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)


def test_keep_freed_memory_avoids_page_faults():
    """Each would cost a page fault for every 4 KiB: 90,000 here."""
    assert printed(FAULTS) < 2000


def test_keep_freed_memory_shares_one_heap_between_threads():
    """Four that took 20 MiB each, one after another, leave no more than one of them."""
    assert printed(THREADS) < 30 << 20
