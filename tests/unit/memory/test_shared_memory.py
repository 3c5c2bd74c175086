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


def test_a_payload_is_read_where_it_was_written(sides):
    """The reader sees the writer's bytes, aligned, and cannot write to them."""
    payload = os.urandom(10_000)
    view = sides.view(sides.own.write(payload))
    assert view == payload
    assert view.readonly


def test_it_is_freed_with_its_last_view(sides):
    """A slice, or an array made of it, keeps a payload; when nothing does, its offset is told, once."""
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


def test_released_memory_is_used_again(sides):
    """What the peer has read makes room; before that there is none."""
    puts = [sides.own.write(bytes(1 << 18)) for _ in range(4)]
    assert None not in puts
    assert sides.own.write(b"x") is None
    sides.own.release(puts[1].offset)
    assert sides.own.write(b"x") == SharedPayload(puts[1].offset, 1)


def test_releasing_what_is_not_out_is_corrupt(sides):
    """A peer that releases twice, or at random, is told so."""
    put = sides.own.write(b"abc")
    sides.own.release(put.offset)
    with pytest.raises(CorruptData, match="offset of a shared payload, got 0"):
        sides.own.release(put.offset)


@pytest.mark.parametrize("payload", [SharedPayload(0, (1 << 20) + 1), SharedPayload(1 << 20, 1)])
def test_a_payload_beyond_the_memory_is_corrupt(sides, payload):
    """Nothing outside the memory is ever read."""
    with pytest.raises(CorruptData, match="of 1048576 shared bytes"):
        sides.view(payload)


def test_memory_that_can_shrink_is_refused():
    """A file that its writer could cut off would end its reader: it is not taken."""
    descriptor = os.memfd_create("shrinks")
    os.ftruncate(descriptor, 4096)
    with pytest.raises(CorruptData, match="could shrink"):
        PeerMemory(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_room_is_handed_out_without_a_copy(sides):
    """What is written to a room is read from there; it is taken until its writer and its reader are done with it."""
    room = sides.own.allocate(10_000)
    room[:] = payload = os.urandom(10_000)
    put = sides.own.share(room.toreadonly())
    view = sides.view(put)
    assert view == payload
    room[:4] = b"seen"
    assert bytes(view[:4]) == b"seen"
    sides.own.release(put.offset)
    assert sides.own.used_bytes > 0
    del room
    gc.collect()
    assert sides.own.used_bytes == 0


def test_a_room_that_is_not_used_comes_back(sides):
    """Nobody has to say so: it is free when no view of it, in whatever thread, is left."""
    room = sides.own.allocate(1 << 20)
    part = memoryview(room)[5:6]
    assert sides.own.allocate(1) is None
    del room
    assert sides.own.used_bytes == 1 << 20
    thread = threading.Thread(target=lambda kept: kept.pop(), args=([part],))
    del part
    thread.start()
    thread.join()
    gc.collect()
    assert sides.own.used_bytes == 0


def test_rows_of_a_room_are_handed_out_one_by_one(sides):
    """The room is taken until the last of them was read, whoever is last."""
    room = sides.own.allocate(3 * 4096)
    room[:] = b"a" * 4096 + b"b" * 4096 + b"c" * 4096
    puts = [sides.own.share(room[begin : begin + 4096]) for begin in (0, 4096, 8192)]
    again = sides.own.share(room[4096:8192])
    assert again == puts[1]
    del room
    gc.collect()
    assert [bytes(sides.view(put)[:1]) for put in puts] == [b"a", b"b", b"c"]
    for put in (puts[1], puts[0], puts[2]):
        sides.own.release(put.offset)
        assert sides.own.used_bytes == 3 * 4096
    sides.own.release(again.offset)
    assert sides.own.used_bytes == 0


def test_what_is_elsewhere_or_at_an_odd_address_is_not_handed_out(sides):
    """It is copied, so that its reader gets it aligned."""
    room = sides.own.allocate(100)
    assert sides.own.share(os.urandom(100)) is None
    assert sides.own.share(room[4:]) is None
    assert sides.own.share(room[16:]) is not None


def test_memory_that_was_not_needed_lately_is_given_back(sides):
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


def test_closed_memory_gives_no_room():
    """A link that has ended, whose descriptor may be another file by now, is not written to."""
    sides = Sides()
    room = sides.own.allocate(100)
    sides.close()
    assert sides.own.allocate(100) is None
    assert sides.own.write(b"x") is None
    sides.own.trim()
    room[:4] = b"safe"
    assert bytes(room[:4]) == b"safe"


def test_without_memory_nothing_is_placed():
    """A process that has spent its allowance sends everything."""
    own = OwnMemory(1 << 20, MemoryAllowance(8192))
    assert own.write(bytes(4096)) is not None
    assert own.allocate(8192) is None
    assert own.used_bytes == 4096
    own.close()


def test_threads_do_not_get_into_each_others_way():
    """While some write, one reads, releases and gives memory back, and at last closes it: everything arrives as it was written."""
    sides = Sides(1 << 20)
    out, sent = SimpleQueue(), []

    def write(seed):
        draw = Random(seed)
        for _ in range(300):
            payload = draw.randbytes(draw.randint(1, 1 << 17))
            room = sides.own.copy_in(payload)
            if room is not payload:
                out.put((sides.own.share(room), payload))
        out.put(None)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    num_ended = 0
    while num_ended < len(threads):
        told = out.get()
        if told is None:
            num_ended += 1
            continue
        put, payload = told
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


def test_memory_may_close_while_threads_write():
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
