"""Byte ranges of files are copied exactly, holes included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onnxmesh.files.digests import file_digest
from onnxmesh.files.file_ranges import copy_file, copy_range, link_or_copy, read_chunks


def test_copy_range_falls_back_to_a_buffer_where_copy_file_range_is_refused(tmp_path):
    """A file that is open for appending is refused by `copy_file_range`; the bytes arrive all the same."""
    content = os.urandom(9_000_000)
    (tmp_path / "from").write_bytes(content)
    with (tmp_path / "from").open("rb") as source, (tmp_path / "to").open("ab") as target:
        copy_range(source.fileno(), target.fileno(), 1000, 0, len(content) - 1000)
    assert (tmp_path / "to").read_bytes() == content[1000:]


def test_copy_range_raises_when_the_source_ends_early(tmp_path):
    """Not a copy that is too short."""
    (tmp_path / "from").write_bytes(b"short")
    with (tmp_path / "from").open("rb") as source, (tmp_path / "to").open("wb") as target:
        target.truncate(100)
        copy_range(source.fileno(), target.fileno(), 0, 0, 5)
        with pytest.raises(OSError, match="file ends at"):
            copy_range(source.fileno(), target.fileno(), 0, 0, 100)


def test_copy_file_keeps_content_and_link_or_copy_links(tmp_path):
    """Data, holes in the middle and at the end, and nothing at all."""
    with (tmp_path / "from").open("wb") as file:
        file.write(b"start")
        file.seek(1 << 22)
        file.write(b"end")
        file.truncate(1 << 23)
    copy_file(tmp_path / "from", tmp_path / "to")
    assert file_digest(tmp_path / "to") == file_digest(tmp_path / "from")
    link_or_copy(tmp_path / "from", tmp_path / "linked")
    assert (tmp_path / "linked").samefile(tmp_path / "from")
    (tmp_path / "empty").touch()
    copy_file(tmp_path / "empty", tmp_path / "also")
    assert (tmp_path / "also").stat().st_size == 0


def test_link_or_copy_copies_onto_another_disk(tmp_path):
    """A hard link cannot cross file systems."""
    other = Path("/dev/shm")  # a file system of its own on Linux
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    (tmp_path / "from").write_bytes(b"content")
    target = other / f"onnxmesh-test-{os.getpid()}"
    try:
        link_or_copy(tmp_path / "from", target)
        assert target.read_bytes() == b"content"
        assert (tmp_path / "from").stat().st_nlink == 1
    finally:
        target.unlink(missing_ok=True)


def test_link_or_copy_without_links_shares_nothing(tmp_path):
    (tmp_path / "from").write_bytes(b"content")
    link_or_copy(tmp_path / "from", tmp_path / "to", link=False)
    assert (tmp_path / "to").read_bytes() == b"content"
    assert (tmp_path / "from").stat().st_nlink == 1


def test_link_or_copy_refuses_a_target_that_exists(tmp_path):
    """A name that is taken is an error, not a copy over it."""
    (tmp_path / "from").write_bytes(b"content")
    (tmp_path / "to").write_bytes(b"other")
    with pytest.raises(FileExistsError):
        link_or_copy(tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to").read_bytes() == b"other"


def test_link_or_copy_links_the_file_behind_a_symbolic_link(tmp_path):
    (tmp_path / "real").write_bytes(b"content")
    (tmp_path / "from").symlink_to("real")
    link_or_copy(tmp_path / "from", tmp_path / "to")
    assert not (tmp_path / "to").is_symlink()
    assert (tmp_path / "to").samefile(tmp_path / "real")


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1 << 23), (3, 8), (100, 1 << 22), ((1 << 22) - 1, (1 << 22) + 9), (5, 5)]
)
def test_read_chunks_yields_exactly_the_range(tmp_path, start, end):
    """Data and holes, whatever the range begins and ends in."""
    with (tmp_path / "from").open("wb") as file:
        file.write(b"start")
        file.seek(1 << 22)
        file.write(b"end")
        file.truncate(1 << 23)
    with (tmp_path / "from").open("rb") as file:
        found = b"".join(bytes(chunk) for chunk in read_chunks(file.fileno(), start, end))
    assert found == (tmp_path / "from").read_bytes()[start:end]


def test_read_chunks_raises_when_the_file_ends_early(tmp_path):
    (tmp_path / "from").write_bytes(b"short")
    with (tmp_path / "from").open("rb") as file, pytest.raises(OSError, match="file ends at"):
        list(read_chunks(file.fileno(), 0, 100))
