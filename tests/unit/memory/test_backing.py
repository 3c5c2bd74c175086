"""Memory behind memory files."""

from __future__ import annotations

import mmap
import os

import pytest

from onnxmesh.memory.backing import Backing, MemoryAllowance

SIZE = 4 << 20


@pytest.fixture
def file():
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, SIZE)
    yield mmap.mmap(descriptor, SIZE), descriptor
    os.close(descriptor)


def given_bytes(descriptor):
    return os.fstat(descriptor).st_blocks * 512


def test_backing_grows_and_shrinks_with_use(file):
    """The kernel counts what the file has: whole pages up to where it was needed, and less once it is not."""
    backing = Backing(*file, MemoryAllowance(SIZE))
    assert given_bytes(file[1]) == 0
    assert backing.grow(100)
    assert given_bytes(file[1]) == backing.end == mmap.PAGESIZE
    assert backing.grow(3 << 20)
    assert backing.grow(5)
    assert given_bytes(file[1]) == backing.end == 3 << 20
    while backing.shrink(mmap.PAGESIZE + 1):
        pass
    assert given_bytes(file[1]) == backing.end == 2 * mmap.PAGESIZE


def test_backing_shrink_keeps_the_content_before_the_end(file):
    """Only the pages beyond it are released."""
    backing = Backing(*file, MemoryAllowance(SIZE))
    backing.grow(SIZE)
    file[0][: 2 << 20] = b"x" * (2 << 20)
    while backing.shrink(1 << 20):
        pass
    assert file[0][: 1 << 20] == b"x" * (1 << 20)
    assert file[0][1 << 20 :] == bytes(3 << 20)


def test_memory_allowance_limits_all_files_together(file):
    """What one has the others cannot have, until it gives it back or goes."""
    allowance = MemoryAllowance(1 << 20)
    one, two = Backing(*file, allowance), Backing(*file, allowance)
    assert one.grow(1 << 20)
    assert not two.grow(1)
    assert two.end == 0
    one.shrink(1 << 19)
    assert two.grow(1 << 19)
    assert not two.grow((1 << 19) + 1)
    one.close()
    assert two.grow(1 << 20)


def test_backing_returns_its_allowance_where_the_kernel_has_no_memory():
    """Where a file cannot have it, nothing is taken of the allowance."""
    allowance = MemoryAllowance(SIZE)
    reader = os.open("/dev/zero", os.O_RDONLY)
    backing = Backing(mmap.mmap(-1, SIZE), reader, allowance)
    assert not backing.grow(1)
    assert backing.end == 0
    assert allowance.take(SIZE)
    os.close(reader)
