"""Tensors in a device's memory."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.device_tensor import DeviceMemory, DeviceTensor, concat_adjacent
from onnxmesh.tensors.rows import concat_rows, split_rows


class Memory:
    """An array on some device, and how often it was copied to the host."""

    def __init__(self, array, datatype=Datatype.FP32):
        self.num_copies = 0
        self._array = array
        memory = DeviceMemory("gpu", 1 << 40, fetch=self._fetch, owner=self)
        self.tensor = DeviceTensor("x", datatype, array.shape, memory=memory)

    def _fetch(self):
        self.num_copies += 1
        return memoryview(self._array.tobytes())


ARRAY = np.arange(24, dtype=np.float32).reshape(6, 2, 2)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.lists(st.integers(1, 3), max_size=2),
    st.sampled_from(sorted(NUMPY)),
)
def test_device_tensor_splits_and_concatenates_rows_in_place(rows, rest, datatype):
    """Each at its own address, all of them as the whole; no byte is copied before the first is read, and then all are once."""
    array = (
        np.arange(sum(rows) * int(np.prod(rest, dtype=int))).reshape(sum(rows), *rest).astype(NUMPY[datatype])
    )
    memory = Memory(array, datatype)
    pieces = split_rows(memory.tensor, rows)
    whole = concat_rows(pieces)
    assert isinstance(whole, DeviceTensor)
    assert (whole.address, whole.shape, whole.byte_size) == (1 << 40, array.shape, array.nbytes)
    assert memory.num_copies == 0
    position = 0
    for piece, count in zip(pieces, rows, strict=True):
        assert np.array_equal(to_array(piece), array[position : position + count])
        assert piece.address == (1 << 40) + array[:position].nbytes
        position += count
    assert np.array_equal(to_array(whole), array)
    assert memory.num_copies == 1


@pytest.mark.parametrize("order", [[1, 0, 2], [0, 2], [0, 0]])
def test_concat_adjacent_refuses_tensors_that_are_not_adjacent(order):
    """In the order in which it is requested."""
    pieces = split_rows(Memory(ARRAY).tensor, [1, 2, 3])
    chosen = [pieces[index] for index in order]
    assert concat_adjacent(chosen) is None
    arrays = [ARRAY[:1], ARRAY[1:3], ARRAY[3:]]
    assert np.array_equal(to_array(concat_rows(chosen)), np.concatenate([arrays[index] for index in order]))


def test_concat_rows_copies_tensors_of_several_memories_to_the_host():
    """Some of them may be there already."""
    tensors = [Memory(ARRAY).tensor, from_array("x", ARRAY), Memory(ARRAY).tensor]
    for chosen in (tensors, tensors[1:], tensors[::2]):
        assert np.array_equal(to_array(concat_rows(chosen)), np.concatenate([ARRAY] * len(chosen)))


def test_device_memory_is_copied_once_for_many_threads():
    """A tensor is sent on several links at once."""
    memory = Memory(ARRAY)
    threads = [threading.Thread(target=lambda: memory.tensor.data) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.num_copies == 1


def test_device_tensor_renamed_shares_the_memory():
    """Nothing is copied for it."""
    memory = Memory(ARRAY)
    renamed = memory.tensor.renamed("z")
    assert (renamed.name, renamed.address, memory.num_copies) == ("z", memory.tensor.address, 0)
    assert np.array_equal(to_array(renamed), ARRAY)


def test_concat_rows_uses_the_allocator():
    """Of the right size; else in a buffer of their own."""
    buffers = []

    def allocator(byte_size):
        buffers.append(np.empty(byte_size, np.uint8))
        return buffers[-1].data

    whole = concat_rows([from_array("x", ARRAY), from_array("x", ARRAY)], allocator)
    assert np.array_equal(to_array(whole), np.concatenate([ARRAY, ARRAY]))
    assert np.frombuffer(whole.data, np.uint8).ctypes.data == buffers[0].ctypes.data
    assert np.array_equal(to_array(concat_rows([from_array("x", ARRAY)], lambda _: None)), ARRAY)
