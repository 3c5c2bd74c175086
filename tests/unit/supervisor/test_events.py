"""Events of services are logged with their fields."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from onnxmesh.supervisor.events import LogEventSink, ServiceDied, ServiceReady, ServiceWarned


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            ServiceReady("g-0", 7, "h:1", again=True),
            {
                "event": "process_ready",
                "log_level": "info",
                "name": "g-0",
                "pid": 7,
                "address": "h:1",
                "again": True,
            },
        ),
        (
            ServiceDied("g-0", 7, "was killed by SIGKILL", 0.5),
            {
                "event": "process_died",
                "log_level": "warning",
                "name": "g-0",
                "pid": 7,
                "cause": "was killed by SIGKILL",
                "restart_in_s": 0.5,
            },
        ),
        (
            ServiceWarned("g-0", "error", "disk full"),
            {
                "event": "process_warned",
                "log_level": "warning",
                "name": "g-0",
                "level": "error",
                "text": "disk full",
            },
        ),
    ],
)
def test_log_event_sink_logs_every_event(event, line):
    with capture_logs() as lines:
        LogEventSink().record(event)
    assert lines == [line]
