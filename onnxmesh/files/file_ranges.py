"""Byte ranges of files, copied by the operating system: gigabytes of weights never pass through this process."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_CHUNK_BYTES = 4 * 1024 * 1024


def copy_range(source: int, target: int, source_offset: int, target_offset: int, num_bytes: int) -> None:
    """Copies a range from one open file into another; holes stay holes where the target has no data yet.

    Uses `copy_file_range`, which shares the blocks on file systems that can and copies within the kernel on others;
    falls back to a small buffer where the call is missing. The caller extends the target to its size: a hole at its
    end is not written.

    Args:
        source: File descriptor to read from; its position changes.
        target: File descriptor to write to.
        source_offset: First byte in the source.
        target_offset: First byte in the target.
        num_bytes: How many bytes.

    Raises:
        OSError: The source ends early, or the disk is full.
    """
    _require_size(source, source_offset + num_bytes)
    shift = target_offset - source_offset
    for start, end in _with_data(source, source_offset, source_offset + num_bytes):
        at = start
        while at < end:
            at += _copy_some(source, target, at, at + shift, end - at)


def read_chunks(file: int, start: int, end: int) -> Iterator[memoryview]:
    """Yields the bytes `[start, end)` of an open file in order, in chunks that are valid until the next one.

    Holes are yielded as zeros without being read.

    Raises:
        OSError: The file ends early.
    """
    _require_size(file, end)
    buffer = memoryview(bytearray(min(_CHUNK_BYTES, max(1, end - start))))
    zeros: memoryview | None = None
    at = start
    for first, last in [*_with_data(file, start, end), (end, end)]:
        while at < first:
            zeros = memoryview(bytes(len(buffer))) if zeros is None else zeros
            yield zeros[: first - at]
            at = min(first, at + len(zeros))
        os.lseek(file, at, os.SEEK_SET)
        while at < last:
            read = os.readv(file, [buffer[: last - at]])
            if not read:
                raise OSError(errno.EIO, f"file ends at {at}, {end} bytes were expected")
            yield buffer[:read]
            at += read


def copy_file(source: Path, target: Path) -> None:
    """Copies a whole file by `copy_range`.

    Raises:
        OSError: A file cannot be opened, or the disk is full.
    """
    with source.open("rb") as original, target.open("wb") as copy:
        size = os.fstat(original.fileno()).st_size
        os.ftruncate(copy.fileno(), size)
        copy_range(original.fileno(), copy.fileno(), 0, 0, size)


def link_or_copy(source: Path, target: Path, *, link: bool = True) -> None:
    """Makes `target` a hard link of `source`, or a copy where the system refuses: another disk, another owner.

    Args:
        source: An existing file, or a symbolic link to one.
        target: Must not exist yet.
        link: False always copies.

    Raises:
        OSError: Neither can be made.
    """
    if link:
        try:
            target.hardlink_to(source.resolve())
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError:
            pass  # another file system, or one without links
        else:
            return
    copy_file(source, target)


def _require_size(file: int, num_bytes: int) -> None:
    """Raises if the file is shorter: past its end the system reports a hole, not an error."""
    if (size := os.fstat(file).st_size) < num_bytes:
        raise OSError(errno.EIO, f"file ends at {size}, {num_bytes} bytes were expected")


def _with_data(file: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields the intervals of `[start, end)` that hold data."""
    while start < end:
        try:
            first = os.lseek(file, start, os.SEEK_DATA)
            last = os.lseek(file, first, os.SEEK_HOLE)
        except AttributeError:  # a system that does not report holes
            yield start, end
            return
        except OSError as error:
            if (
                error.errno != errno.ENXIO
            ):  # a file system that does not report holes; ENXIO: a hole up to the end
                yield start, end
            return
        if first < end:
            yield first, min(last, end)
        start = max(last, first)


def _copy_some(source: int, target: int, source_offset: int, target_offset: int, num_bytes: int) -> int:
    """Copies at least one of the bytes and returns how many."""
    try:
        copied = os.copy_file_range(source, target, num_bytes, source_offset, target_offset)
    except AttributeError:
        copied = 0
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        copied = 0
    if copied:
        return copied
    chunk = os.pread(source, min(_CHUNK_BYTES, num_bytes), source_offset)
    if not chunk:
        raise OSError(errno.EIO, f"file ends at {source_offset}, {num_bytes} bytes more were expected")
    return os.pwrite(target, chunk, target_offset)
