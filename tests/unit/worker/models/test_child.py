"""A child process."""

from __future__ import annotations

import signal
import sys

import pytest

from services.worker.models.child import Child, ChildDiedError


def child(script):
    return Child((sys.executable, "-c", script))


async def test_child_answers_requests_in_order_until_it_is_closed():
    """Each a line of JSON."""
    it = child("import sys\nfor line in sys.stdin: print(line.strip(), flush=True)")
    assert [await it.request([number, "x"]) for number in range(3)] == [[0, "x"], [1, "x"], [2, "x"]]
    it.close()


async def test_child_that_dies_raises_with_its_status_and_the_end_of_its_errors():
    """A negative status is a signal."""
    it = child(
        "import os, sys; sys.stderr.write('x' * 9000 + 'the end'); sys.stderr.flush(); os.kill(os.getpid(), 9)"
    )
    with pytest.raises(ChildDiedError) as caught:
        await it.request("anything")
    it.close()
    assert caught.value.status == -signal.SIGKILL
    assert caught.value.stderr_tail.endswith("the end")
    assert len(caught.value.stderr_tail) == 4096
    assert "memory runs out" in caught.value.how
