"""Places for tensors that are yet to be computed."""

from __future__ import annotations

from collections.abc import Callable

FindRoom = Callable[[int], memoryview | None]
"""Returns a writable place of so many bytes, aligned for any kernel, or None where there is none.

It is taken for as long as a view of it is left. May be called in any thread.
"""
