"""Ranges of files copied by the operating system: weights of gigabytes never pass through this process."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_PIECE_BYTES = 4 * 1024 * 1024


def copy_range(source: int, target: int, source_offset: int, target_offset: int, num_bytes: int) -> None:
    """Copies a range from one open file into another; holes stay holes where the target has nothing yet.

    By `copy_file_range`, which shares the blocks on file systems that can and copies within the kernel on others;
    by a small buffer where there is no such call. The target must be extended to its size by the caller: a
    hole at its end is not written.

    Args:
        source: File descriptor, read from; its position is moved.
        target: File descriptor, written to.
        source_offset: First byte in the source.
        target_offset: First byte in the target.
        num_bytes: How many bytes.

    Raises:
        OSError: The source ends early, or the disk is full.
    """
    size = os.fstat(source).st_size
    if size < source_offset + num_bytes:
        raise OSError(errno.EIO, f"file ends at {size}, {source_offset + num_bytes} bytes were expected")
    shift = target_offset - source_offset
    for start, end in _with_data(source, source_offset, source_offset + num_bytes):
        at = start
        while at < end:
            at += _copy_some(source, target, at, at + shift, end - at)


def pieces(file: int, start: int, end: int) -> Iterator[memoryview]:
    """Yields the bytes of a range of an open file in order, in pieces that are valid until the next.

    Holes are not read: the system would fill memory with zeros for them.

    Raises:
        OSError: The file ends early.
    """
    buffer = memoryview(bytearray(min(_PIECE_BYTES, max(1, end - start))))
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
    """Copies a whole file as `copy_range` does.

    Raises:
        OSError: One of them cannot be opened, or the disk is full.
    """
    with source.open("rb") as original, target.open("wb") as copy:
        size = os.fstat(original.fileno()).st_size
        os.ftruncate(copy.fileno(), size)
        copy_range(original.fileno(), copy.fileno(), 0, 0, size)


def link_or_copy(source: Path, target: Path) -> None:
    """Makes `target` a hard link of `source`, or a copy where that cannot be: another disk, another owner.

    Raises:
        OSError: Neither can be made.
    """
    try:
        target.hardlink_to(source.resolve())
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError:
        copy_file(source, target)


def _with_data(file: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields the intervals of `[start, end)` that are no holes."""
    while start < end:
        try:
            first = os.lseek(file, start, os.SEEK_DATA)
            last = os.lseek(file, first, os.SEEK_HOLE)
        except AttributeError:  # a system that cannot tell
            yield start, end
            return
        except OSError as error:
            if error.errno != errno.ENXIO:  # a file system that cannot tell; ENXIO: holes to the end
                yield start, end
            return
        if first < end:
            yield first, min(last, end)
        start = max(last, first)


def _copy_some(source: int, target: int, source_offset: int, target_offset: int, num_bytes: int) -> int:
    """Copies some of the bytes and returns how many; at least one."""
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
    piece = os.pread(source, min(_PIECE_BYTES, num_bytes), source_offset)
    if not piece:
        raise OSError(errno.EIO, f"file ends at {source_offset}, {num_bytes} bytes more were expected")
    return os.pwrite(target, piece, target_offset)
