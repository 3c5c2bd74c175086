"""Lines of the services' logs."""

from __future__ import annotations

import json

import pytest

from onnxmesh.supervisor.log_line import LogLine, parse_log_line


def test_parse_log_line_has_event_and_fields_on_one_line():
    """A JSON line becomes its event, its figures and the last line of its traceback."""
    line = json.dumps(
        {
            "event": "stage_failed",
            "level": "warning",
            "timestamp": "2026-01-01T00:00:00Z",
            "stage": "m/1/0",
            "exception": "Traceback:\n  somewhere\nValueError: no such op",
        }
    )
    assert parse_log_line(line) == LogLine("warning", "stage_failed stage=m/1/0 ValueError: no such op")
    assert parse_log_line(line).is_warning


def test_parse_log_line_shortens_an_exception():
    """structlog's list of causes is cut down to what was raised last."""
    frames = [{"filename": "x.py", "locals": {"huge": "y" * 1000}}]
    causes = [{"exc_type": "RuntimeError", "exc_value": "it broke", "frames": frames}]
    line = json.dumps({"event": "unexpected_error", "level": "error", "exception": causes})
    assert parse_log_line(line) == LogLine("error", "unexpected_error RuntimeError: it broke")


@pytest.mark.parametrize(
    "text", ["Traceback (most recent call last):", '{"broken', "[1, 2]", "{}", '{"level": 3}', ""]
)
def test_parse_log_line_keeps_other_lines(text):
    """What no logger wrote is kept word for word and has no level."""
    assert parse_log_line(text + "\n") == LogLine("", text)
    assert not parse_log_line(text).is_warning
