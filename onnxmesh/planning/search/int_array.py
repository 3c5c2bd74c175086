"""Whole numbers in rows, and the one that stands for never."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int64]

INFEASIBLE = 1 << 60
"""More than any real figure; two of them still add up within 64 bits."""
FEASIBLE_BITS = 58
"""Real figures stay below this power of two."""
