"""Keys of attempts."""

from __future__ import annotations

from services.worker.requests.request_key import RequestKey


def test_request_key_survives_its_message():
    """Each field in its place."""
    key = RequestKey("g", 7, 2)
    assert RequestKey.of(key.to_proto()) == key
    assert (key.to_proto().origin, key.to_proto().number, key.to_proto().attempt) == ("g", 7, 2)
