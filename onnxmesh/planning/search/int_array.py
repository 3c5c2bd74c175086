"""Integer arrays of the search, and the value that stands for an infeasible cost."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int64]

INFEASIBLE = 1 << 60
"""Cost of what is impossible: above every feasible cost; the sum of two fits in 64 bits."""
FEASIBLE_BITS = 58
"""Feasible costs stay below this power of two."""
