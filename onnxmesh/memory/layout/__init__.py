"""Bookkeeping of blocks in shared memory, without the memory itself."""
