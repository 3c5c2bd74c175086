"""A service process prints its ready line, stops by a signal, and names a wrong setting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from onnxmesh.service.run_service import run_service, stop_signals
from onnxmesh.service.settings.service import ServiceSettings

PROGRAM = """
import asyncio
from contextlib import asynccontextmanager
from onnxmesh.service.run_service import run_service
from onnxmesh.service.settings.service import ServiceSettings

class Endpoint:
    listens, address, metrics_address = "127.0.0.1:7", "host:7", None

    def __init__(self, settings):
        self.settings = settings

    async def wait_ready(self):
        if self.settings.zone == "nowhere":
            await asyncio.Event().wait()

@asynccontextmanager
async def app(settings):
    yield Endpoint(settings)
    print("drained", flush=True)

run_service("worker", ServiceSettings, app)
"""


def start(*options):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_run_service_prints_the_ready_line_and_drains_at_the_end_of_standard_input():
    with start("--exit-with-parent") as process:
        out, _ = process.communicate()
    assert (process.returncode, out) == (0, "ready worker 127.0.0.1:7\n" + "drained\n")


def test_run_service_that_is_not_ready_prints_no_line_and_stops():
    with start("--exit-with-parent", "--zone=nowhere") as process:
        out, _ = process.communicate()
    assert (process.returncode, out) == (0, "drained\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_stop_signals_sets_the_event(number):
    async with stop_signals(watch_stdin=False) as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        await stop.wait()


def test_run_service_names_a_wrong_setting(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["worker", "--listen=x"])
    with pytest.raises(SystemExit) as caught:
        run_service("worker", ServiceSettings, None)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(
        "worker: --listen (ONNXMESH_LISTEN): expected HOST:PORT, got 'x'"
    )
