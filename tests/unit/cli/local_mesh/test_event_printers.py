"""Events of `onnxmesh up` as text and as JSON lines."""

from __future__ import annotations

import json
import sys

from onnxmesh.cli.local_mesh.event_printers import JsonPrinter, TextPrinter
from onnxmesh.supervisor.events import ServiceDied, ServiceReady, ServiceWarned

FIRST = ServiceReady("gateway", 7, "h:1", again=False)
AGAIN = ServiceReady("gateway", 8, "h:1", again=True)
DIED = ServiceDied("gateway", 7, "was killed by SIGKILL", 0.1)
COMPLAINED = ServiceWarned("gateway", "warning", "disk full")


def test_text_printer_separates_steps_from_trouble(capsys):
    """Steps go to standard output; restarts, warnings and errors to standard error; a first start is not printed."""
    printer = TextPrinter()
    for event in (FIRST, DIED, AGAIN, COMPLAINED):
        printer.record(event)
    printer.report("ready", "mesh ready", gateway="h:1")
    printer.report_error("m.onnx is not served")
    captured = capsys.readouterr()
    assert captured.out == "mesh ready\n"
    assert captured.err.splitlines() == [
        "gateway (pid 7) was killed by SIGKILL; restarting in 0.1 s",
        "gateway restarted at h:1 (pid 8)",
        "gateway: warning: disk full",
        "error: m.onnx is not served",
    ]


def test_json_printer_prints_one_object_a_line(capsys):
    """Every event has its kind in `event` and its fields beside it."""
    printer = JsonPrinter()
    for event in (FIRST, DIED, COMPLAINED):
        printer.record(event)
    printer.report("ready", "mesh ready", gateway="h:1")
    printer.report_error("m.onnx is not served")
    ready, died, complained, step, error = map(json.loads, capsys.readouterr().out.splitlines())
    assert ready == {"event": "service_ready", "name": "gateway", "pid": 7, "address": "h:1", "again": False}
    assert (died["event"], died["cause"], died["delay_s"]) == ("service_died", "was killed by SIGKILL", 0.1)
    assert (complained["event"], complained["text"]) == ("service_complained", "disk full")
    assert step == {"event": "ready", "gateway": "h:1"}
    assert error == {"event": "error", "message": "m.onnx is not served"}


def test_text_printer_survives_a_closed_pipe(monkeypatch):
    """A reader that closed the pipe must not end the mesh."""

    class ClosedPipe:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", ClosedPipe())
    TextPrinter().report("ready", "mesh ready")
    with sys.stdout:
        TextPrinter().report("stopped", "stopped")
