"""What a peer may see of an error, and what the log alone has."""

from __future__ import annotations

import errno

from structlog.testing import capture_logs

from onnxmesh.errors import Internal, NotFound, Overloaded
from onnxmesh.masking import masked


def test_masked_keeps_a_mesh_error():
    error = NotFound("no such model")
    with capture_logs() as lines:
        assert masked(error) is error
    assert lines == []


def test_masked_hides_the_text_of_an_unexpected_error_under_an_incident():
    error = ValueError("secret")
    with capture_logs() as lines:
        found = masked(error, method="/a/b")
    assert type(found) is Internal
    assert "secret" not in found.message
    (line,) = lines
    assert line["event"] == "unexpected_error"
    assert line["method"] == "/a/b"
    assert line["exc_info"] is error
    assert line["incident"] in found.message


def test_masked_names_a_full_disk():
    with capture_logs() as lines:
        found = masked(OSError(errno.ENOSPC, "No space left on device", "/cache/a"), stage="m/1/0")
    assert isinstance(found, Overloaded)
    assert found.message == "no space is left on the disk: /cache/a"
    assert lines[0]["event"] == "disk_full"
    assert lines[0]["stage"] == "m/1/0"
