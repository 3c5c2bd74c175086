"""Logs are JSON in containers and text on a terminal, without the values of locals."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import structlog
from onnxmesh.service.logs import configure_logs
configure_logs("worker", log_format={format!r}, level="warning")
log = structlog.get_logger()
log.info("left_out")
try:
    secret = "a tensor"
    1 / 0
except ZeroDivisionError:
    log.error("failed", stage="m/1/0", exc_info=True)
"""


def logged(log_format):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(format=log_format)], check=True, capture_output=True, text=True
    )
    assert done.stdout == ""
    return done.stderr


def test_configure_logs_writes_one_json_object_a_line_where_there_is_no_terminal():
    (line,) = logged("auto").splitlines()
    document = json.loads(line)
    assert (document["event"], document["service"], document["stage"]) == ("failed", "worker", "m/1/0")
    assert document["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert "a tensor" not in line


def test_configure_logs_writes_text_for_a_console():
    text = logged("console")
    assert "ZeroDivisionError" in text
    assert "left_out" not in text
    assert "{" not in text.splitlines()[0]
