"""Answers to clients that do not speak gRPC."""

from __future__ import annotations

import pytest

from onnxmesh.http2.protocol.limits import ConnectionLimits
from onnxmesh.http2.server.plain_answers import answer_to_http1, http2_sentence, is_http1_possible


@pytest.mark.parametrize(
    ("first", "status", "sentence"),
    [
        (b"GET / HTTP/1.1\r\n", "505 HTTP Version Not Supported", "HTTP/1 is not spoken here. Hello."),
        (b"POST /v2/models/m/infer", "505 HTTP Version Not Supported", "HTTP/1 is not spoken here. Hello."),
        (b"\x16\x03\x01\x02\x00\x01", "400 Bad Request", "This port does not speak TLS. Hello."),
    ],
)
def test_answer_to_http1_is_a_whole_answer(first, status, sentence):
    """A status, a sentence of the announced length, and the end of the connection."""
    head, _, body = answer_to_http1(first, "Hello.").decode().partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status}\r\n")
    assert f"content-length: {len(body)}" in head
    assert "connection: close" in head
    assert body == f"{sentence}\n"


def test_answer_to_http1_has_no_body_for_head():
    """But says how long it would be."""
    head, _, body = answer_to_http1(b"HEAD / HTTP/1.1\r\n", "Hello.").partition(b"\r\n\r\n")
    assert body == b""
    assert b"content-length: 34" in head


@pytest.mark.parametrize(
    "first", [b"SSH-2.0-OpenSSH", b"*1\r\n$4\r\nPING", b"\0\0\0", b"GETTING", b"PRI * HTTP/2.0x"]
)
def test_answer_to_http1_is_none_for_other_protocols(first):
    """What they are is not known, and neither is what they would understand."""
    assert answer_to_http1(first, "Hello.") is None
    assert not is_http1_possible(first)


@pytest.mark.parametrize("first", [b"G", b"DELET", b"POST"])
def test_is_http1_possible_until_its_first_word_is_complete(first):
    """Which may arrive byte by byte."""
    assert is_http1_possible(first)
    assert not is_http1_possible(first + b" x")


@pytest.mark.parametrize(
    ("status", "reason"), [(405, "POST alone"), (415, "application/grpc"), (431, "more than 70 bytes")]
)
def test_http2_sentence_says_what_was_wrong_and_what_is_spoken(status, reason):
    """In plain words."""
    sentence = http2_sentence(status, "Hello.", ConnectionLimits(max_headers_bytes=70)).decode()
    assert reason in sentence
    assert sentence.endswith(" Hello.\n")
