"""Payloads in memory that two processes share."""

from __future__ import annotations

import gc
import os
import threading
from queue import SimpleQueue
from random import Random

import pytest

from onnxmesh.errors import CorruptData
from onnxmesh.memory.backing import MemoryAllowance
from onnxmesh.memory.layout.shared_payload import SharedPayload
from onnxmesh.memory.shared_memory import OwnMemory, PeerMemory
from tests.fakes.memory_sides import Sides


@pytest.fixture
def sides():
    both = Sides()
    yield both
    both.close()


def test_peer_memory_reads_payloads_in_place(sides):
    """The reader sees the writer's bytes, aligned, and cannot write to them."""
    payload = os.urandom(10_000)
    view = sides.view(sides.own.write(payload))
    assert view == payload
    assert view.readonly


def test_peer_memory_reports_a_payload_freed_with_its_last_view(sides):
    """A slice, or an array made of it, keeps a payload; when nothing does, its offset is shared, once."""
    put = sides.own.write(b"x" * 100)
    view = sides.view(put)
    part = view[10:20]
    del view
    gc.collect()
    assert sides.freed == []
    assert bytes(part) == b"x" * 10
    del part
    gc.collect()
    assert sides.freed == [put.offset]


def test_own_memory_reuses_released_memory(sides):
    """What the peer has read makes buffer; before that there is none."""
    puts = [sides.own.write(bytes(1 << 18)) for _ in range(4)]
    assert None not in puts
    assert sides.own.write(b"x") is None
    sides.own.release(puts[1].offset)
    assert sides.own.write(b"x") == SharedPayload(puts[1].offset, 1)


def test_own_memory_release_of_an_unshared_payload_is_corrupt(sides):
    """A peer that releases twice, or at random, is shared so."""
    put = sides.own.write(b"abc")
    sides.own.release(put.offset)
    with pytest.raises(CorruptData, match="offset of a shared payload, got 0"):
        sides.own.release(put.offset)


@pytest.mark.parametrize("payload", [SharedPayload(0, (1 << 20) + 1), SharedPayload(1 << 20, 1)])
def test_peer_memory_refuses_payloads_beyond_its_end(sides, payload):
    """Nothing outside the memory is ever read."""
    with pytest.raises(CorruptData, match="of 1048576 shared bytes"):
        sides.view(payload)


def test_peer_memory_refuses_files_that_can_shrink():
    """A file that its writer could cut off would end its reader: it is not taken."""
    descriptor = os.memfd_create("shrinks")
    os.ftruncate(descriptor, 4096)
    with pytest.raises(CorruptData, match="could shrink"):
        PeerMemory(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_own_memory_shares_allocated_memory_without_a_copy(sides):
    """What is written to a buffer is read from there; it is taken until its writer and its reader are done with it."""
    buffer = sides.own.allocate(10_000)
    buffer[:] = payload = os.urandom(10_000)
    put = sides.own.share(buffer.toreadonly())
    view = sides.view(put)
    assert view == payload
    buffer[:4] = b"seen"
    assert bytes(view[:4]) == b"seen"
    sides.own.release(put.offset)
    assert sides.own.used_bytes > 0
    del buffer
    gc.collect()
    assert sides.own.used_bytes == 0


def test_own_memory_frees_allocated_memory_with_its_last_view(sides):
    """It is free when no view of it is left in any thread; there is no call for it."""
    buffer = sides.own.allocate(1 << 20)
    part = memoryview(buffer)[5:6]
    assert sides.own.allocate(1) is None
    del buffer
    assert sides.own.used_bytes == 1 << 20
    thread = threading.Thread(target=lambda kept: kept.pop(), args=([part],))
    del part
    thread.start()
    thread.join()
    gc.collect()
    assert sides.own.used_bytes == 0


def test_own_memory_shares_parts_of_a_block_separately(sides):
    """The block is in use until the last of them was read, in any order."""
    buffer = sides.own.allocate(3 * 4096)
    buffer[:] = b"a" * 4096 + b"b" * 4096 + b"c" * 4096
    puts = [sides.own.share(buffer[begin : begin + 4096]) for begin in (0, 4096, 8192)]
    again = sides.own.share(buffer[4096:8192])
    assert again == puts[1]
    del buffer
    gc.collect()
    assert [bytes(sides.view(put)[:1]) for put in puts] == [b"a", b"b", b"c"]
    for put in (puts[1], puts[0], puts[2]):
        sides.own.release(put.offset)
        assert sides.own.used_bytes == 3 * 4096
    sides.own.release(again.offset)
    assert sides.own.used_bytes == 0


def test_own_memory_does_not_share_foreign_or_unaligned_payloads(sides):
    """It is copied, so that its reader gets it aligned."""
    buffer = sides.own.allocate(100)
    assert sides.own.share(os.urandom(100)) is None
    assert sides.own.share(buffer[4:]) is None
    assert sides.own.share(buffer[16:]) is not None


def test_own_memory_trim_returns_unused_memory(sides):
    """Once two periods are over; what is in use stays, with its content."""
    low = sides.own.write(b"stays" * 1000)
    high = sides.own.write(bytes(1 << 19))
    assert sides.own.backed_bytes > 1 << 19
    sides.own.release(high.offset)
    sides.own.trim()
    assert sides.own.backed_bytes > 1 << 19
    sides.own.trim()
    assert sides.own.backed_bytes == 8192
    assert sides.view(low) == b"stays" * 1000
    assert sides.own.write(b"x" * (1 << 19)) is not None
    assert sides.own.backed_bytes > 1 << 19


def test_own_memory_allocates_nothing_once_closed():
    """A link that has ended, whose descriptor may be another file by now, is not written to."""
    sides = Sides()
    buffer = sides.own.allocate(100)
    sides.close()
    assert sides.own.allocate(100) is None
    assert sides.own.write(b"x") is None
    sides.own.trim()
    buffer[:4] = b"safe"
    assert bytes(buffer[:4]) == b"safe"


def test_own_memory_allocates_nothing_beyond_its_allowance():
    """A process that has spent its allowance sends everything."""
    own = OwnMemory(1 << 20, MemoryAllowance(8192))
    assert own.write(bytes(4096)) is not None
    assert own.allocate(8192) is None
    assert own.used_bytes == 4096
    own.close()


def test_own_memory_is_thread_safe():
    """While some write, one reads, releases and gives memory back, and at last closes it: everything arrives as it was written."""
    sides = Sides(1 << 20)
    out, sent = SimpleQueue(), []

    def write(seed):
        draw = Random(seed)
        for _ in range(300):
            payload = draw.randbytes(draw.randint(1, 1 << 17))
            buffer = sides.own.copy_in(payload)
            if buffer is not payload:
                out.put((sides.own.share(buffer), payload))
        out.put(None)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    num_ended = 0
    while num_ended < len(threads):
        shared = out.get()
        if shared is None:
            num_ended += 1
            continue
        put, payload = shared
        view = sides.view(put)
        assert view == payload
        del view
        sides.own.release(put.offset)
        sent.append(len(payload))
        if len(sent) % 20 == 0:
            sides.own.trim()
    for thread in threads:
        thread.join()
    assert sent
    gc.collect()
    assert sides.own.used_bytes == 0
    sides.close()


def test_own_memory_may_be_closed_while_threads_write():
    """What they write then goes nowhere, and harms nothing."""
    for seed in range(20):
        sides = Sides(1 << 16)
        payload = Random(seed).randbytes(3000)
        started = threading.Event()
        found = []

        def write(sides=sides, payload=payload, started=started, found=found):
            for _ in range(100):
                found.append(sides.own.copy_in(payload) == payload)
                started.set()

        thread = threading.Thread(target=write)
        thread.start()
        started.wait()
        sides.close()
        thread.join()
        assert all(found)
