"""Blocks that are written once and read by others."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from onnxmesh.memory.layout.blocks import Blocks
from onnxmesh.memory.layout.extents import EXTENT_ALIGNMENT

SIZE = 64 * EXTENT_ALIGNMENT


class Uses(RuleBasedStateMachine):
    """Whatever is written, handed out and taken back, in any order: a block is taken while anybody uses it, and no longer."""

    def __init__(self):
        super().__init__()
        self.blocks = Blocks(SIZE)
        self.sizes = {}
        self.writing = set()
        self.out = Counter()

    def block_of(self, offset):
        return max(start for start in self.sizes if start <= offset)

    @rule(byte_size=st.integers(1, SIZE // 3))
    def take(self, byte_size):
        start = self.blocks.allocate(byte_size)
        if start is not None:
            assert start not in self.sizes
            self.sizes[start] = byte_size
            self.writing.add(start)

    @rule(data=st.data())
    def leave(self, data):
        if self.writing:
            start = data.draw(st.sampled_from(sorted(self.writing)))
            self.writing.remove(start)
            self.blocks.release_writer(start)
            self.forget_unused()

    @rule(data=st.data())
    def hand_out(self, data):
        if self.writing:
            start = data.draw(st.sampled_from(sorted(self.writing)))
            offset = start + data.draw(st.integers(0, self.sizes[start] - 1))
            self.blocks.add_reader(offset)
            self.out[offset] += 1

    @rule(data=st.data())
    def take_back(self, data):
        if self.out:
            offset = data.draw(st.sampled_from(sorted(self.out)))
            assert self.blocks.remove_reader(offset)
            self.out[offset] -= 1
            self.out = +self.out
            self.forget_unused()

    @rule(offset=st.integers(-1, SIZE))
    def take_back_what_is_not_out(self, offset):
        if offset not in self.out:
            assert not self.blocks.remove_reader(offset)

    def forget_unused(self):
        used = self.writing | {self.block_of(offset) for offset in self.out}
        self.sizes = {start: size for start, size in self.sizes.items() if start in used}

    @invariant()
    def what_is_used_is_taken(self):
        rounded = {
            start: -(-size // EXTENT_ALIGNMENT) * EXTENT_ALIGNMENT for start, size in self.sizes.items()
        }
        assert self.blocks.used_bytes == sum(rounded.values())
        assert self.blocks.used_end == max((start + size for start, size in rounded.items()), default=0)

    def teardown(self):
        for start in self.writing:
            self.blocks.release_writer(start)
        for offset in self.out.elements():
            self.blocks.remove_reader(offset)
        assert self.blocks.used_bytes == 0
        assert self.blocks.allocate(SIZE) == 0


TestUses = Uses.TestCase
