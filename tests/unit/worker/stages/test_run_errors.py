"""Exceptions of runs, as mesh errors."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidRequest, ModelRunFailed, Overloaded
from services.worker.stages.run_errors import error_for_origin, is_out_of_memory


def test_error_for_origin_is_a_fresh_error_without_traceback():
    """A traceback would keep the tensors of the request alive."""
    try:
        raise InvalidRequest("wrong shape")
    except InvalidRequest as error:
        sent = error_for_origin(error, "m/1/0")
        assert sent is not error
    assert (type(sent), sent.message, sent.__traceback__) == (InvalidRequest, "wrong shape", None)


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (ModelRunFailed("shapes differ"), "MODEL_RUN_FAILED", "m/1/0: shapes differ"),
        (ModelRunFailed("std::bad_alloc"), "OVERLOADED", "m/1/0 ran out of memory"),
        (MemoryError(), "OVERLOADED", "m/1/0 ran out of memory"),
        (ZeroDivisionError("secret"), "INTERNAL", "incident"),
    ],
)
def test_error_for_origin_has_the_reason_of_the_exception(error, reason, message):
    """The text of a defect is not sent."""
    sent = error_for_origin(error, "m/1/0")
    assert sent.reason == reason
    assert message in sent.message
    assert "secret" not in sent.message
    assert (sent.retry_after_s is not None) == isinstance(sent, Overloaded)


def test_is_out_of_memory_follows_the_cause():
    """Libraries wrap the exception."""
    wrapped = RuntimeError("cannot load")
    wrapped.__cause__ = MemoryError()
    assert is_out_of_memory(wrapped)
    assert not is_out_of_memory(RuntimeError("bad_alloc"))
