"""Digests name content: of a file, and of a listing of files."""

from __future__ import annotations

import hashlib

import pytest

from onnxmesh.errors import InvalidRequest
from onnxmesh.files.digests import ListedFile, checked_digest, describe_files, file_digest, listing_digest
from onnxmesh.ids import Digest

A, B = Digest("a" * 64), Digest("b" * 64)


def test_file_digest_is_the_sha256_of_the_content(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()


def test_describe_files_keeps_the_order_of_its_paths(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(b"12")
    (tmp_path / "a").write_bytes(b"1")
    assert describe_files({path: tmp_path / path for path in ("sub/b", "a")}) == [
        ListedFile("sub/b", Digest(hashlib.sha256(b"12").hexdigest()), 2),
        ListedFile("a", Digest(hashlib.sha256(b"1").hexdigest()), 1),
    ]
    assert describe_files({}) == []


def test_listing_digest_is_the_sha256_of_the_sorted_lines():
    files = [ListedFile("b", A, 2), ListedFile("a", B, 1)]
    expected = hashlib.sha256(f"{B} 1 a\n{A} 2 b\n".encode()).hexdigest()
    assert listing_digest(files) == listing_digest(files[::-1]) == expected


@pytest.mark.parametrize("other", [ListedFile("b", A, 1), ListedFile("a", B, 1), ListedFile("a", A, 2)])
def test_listing_digest_depends_on_path_content_and_size(other):
    assert listing_digest([ListedFile("a", A, 1)]) != listing_digest([other])


@pytest.mark.parametrize("text", ["", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "../" + "a" * 61])
def test_checked_digest_refuses_what_is_no_digest(text):
    with pytest.raises(InvalidRequest, match="64 lower-case hexadecimal digits"):
        checked_digest(text)
    assert checked_digest(A) == A
