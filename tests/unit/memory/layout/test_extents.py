"""Blocks of a stretch of memory."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from onnxmesh.memory.layout.extents import EXTENT_ALIGNMENT, Extents

SIZE = 64 * EXTENT_ALIGNMENT


class Blocks(RuleBasedStateMachine):
    """Whatever is taken and given back, blocks never overlap and nothing of the stretch is lost."""

    def __init__(self):
        super().__init__()
        self.extents = Extents(SIZE)
        self.out = {}

    @rule(byte_size=st.integers(1, SIZE // 3))
    def take(self, byte_size):
        start = self.extents.allocate(byte_size)
        if start is not None:
            self.out[start] = byte_size

    @rule(data=st.data())
    def give_back(self, data):
        if self.out:
            start = data.draw(st.sampled_from(sorted(self.out)))
            del self.out[start]
            assert self.extents.free(start)

    @rule(start=st.integers(-1, SIZE))
    def give_back_what_is_not_out(self, start):
        if start not in self.out:
            assert not self.extents.free(start)

    @invariant()
    def blocks_are_apart(self):
        end = 0
        for start, byte_size in sorted(self.out.items()):
            assert start >= end
            assert start % EXTENT_ALIGNMENT == 0
            end = start + byte_size
        assert end <= SIZE
        assert self.extents.num_used == len(self.out)

    def teardown(self):
        for start in self.out:
            self.extents.free(start)
        assert self.extents.used_bytes == 0
        assert self.extents.allocate(SIZE) == 0


TestBlocks = Blocks.TestCase


def test_extents_allocates_the_lowest_block_first():
    """Little of the stretch is touched while little is in use."""
    extents = Extents(SIZE)
    first, second = extents.allocate(100), extents.allocate(100)
    extents.free(first)
    assert extents.allocate(50) == first
    assert second > first
