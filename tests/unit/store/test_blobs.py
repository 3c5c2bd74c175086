"""A blob is there whole, under the digest of its content, or not at all."""

from __future__ import annotations

import hashlib

import pytest

from onnxmesh.errors import InvalidRequest, NotFound
from onnxmesh.store.blobs import BLOB_CHUNK_BYTES, BlobFolder


def sha(content):
    return hashlib.sha256(content).hexdigest()


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def blobs(tmp_path):
    return BlobFolder(tmp_path / "blobs")


def test_put_file_links_the_file_under_its_digest(blobs, tmp_path):
    source = tmp_path / "w.bin"
    source.write_bytes(b"weights")
    assert blobs.put_file(source) == (sha(b"weights"), 7)
    assert blobs.has(sha(b"weights"))
    assert blobs.path(sha(b"weights")).samefile(source)


def test_put_file_twice_stores_one_blob(blobs, tmp_path):
    source = tmp_path / "w.bin"
    source.write_bytes(b"weights")
    assert blobs.put_file(source) == blobs.put_file(source)
    assert files(tmp_path / "blobs") == [sha(b"weights")]


def test_writer_commits_what_it_hashed(blobs):
    with blobs.writer() as writer:
        writer.write(b"wei")
        writer.write(b"ghts")
        assert not blobs.has(sha(b"weights"))
        assert writer.commit() == (sha(b"weights"), 7)
    assert b"".join(blobs.chunks(sha(b"weights"))) == b"weights"


def test_writer_without_commit_leaves_nothing(blobs, tmp_path):
    with blobs.writer() as writer:
        writer.write(b"weights")
    assert files(tmp_path) == []


def test_writer_restart_discards_what_was_written(blobs):
    with blobs.writer() as writer:
        writer.write(b"a longer beginning")
        writer.restart()
        writer.write(b"weights")
        assert writer.commit() == (sha(b"weights"), 7)
    assert blobs.path(sha(b"weights")).read_bytes() == b"weights"


def test_chunks_begin_at_an_offset_and_are_bounded(blobs):
    content = bytes(BLOB_CHUNK_BYTES) + b"tail"
    with blobs.writer() as writer:
        writer.write(content)
        digest, _ = writer.commit()
    assert [len(piece) for piece in blobs.chunks(digest)] == [BLOB_CHUNK_BYTES, 4]
    assert b"".join(blobs.chunks(digest, BLOB_CHUNK_BYTES + 1)) == b"ail"
    assert not list(blobs.chunks(digest, len(content)))
    with pytest.raises(InvalidRequest, match="beyond"):
        list(blobs.chunks(digest, len(content) + 1))


def test_chunks_names_a_missing_blob(blobs):
    with pytest.raises(NotFound, match=sha(b"x")):
        list(blobs.chunks(sha(b"x")))


@pytest.mark.parametrize(
    "digest", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "/" * 64]
)
def test_blob_folder_refuses_malformed_digests(blobs, digest):
    for call in (blobs.path, blobs.has, blobs.remove, lambda d: list(blobs.chunks(d))):
        with pytest.raises(InvalidRequest, match="SHA-256"):
            call(digest)


def test_remove_leftovers_keeps_blobs(blobs, tmp_path):
    with blobs.writer() as writer:
        writer.write(b"weights")
        writer.commit()
    (tmp_path / "blobs" / "incoming" / "half").write_bytes(b"we")
    blobs.remove_leftovers()
    assert files(tmp_path) == [sha(b"weights")]
    assert blobs.digests() == {sha(b"weights")}
    blobs.remove(sha(b"weights"))
    assert blobs.digests() == set()
