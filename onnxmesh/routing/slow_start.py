"""The share that a newly loaded replica gets.

Source: Envoy, "Slow start mode", with aggression 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ramp(age_s: NDArray[np.float64], window_s: float, floor: float) -> NDArray[np.float64]:
    """Returns which part of its share a replica of each age gets: from `floor` evenly up to 1 after `window_s`."""
    grown: NDArray[np.float64] = floor + (1.0 - floor) * age_s / window_s
    return np.clip(grown, floor, 1.0)
