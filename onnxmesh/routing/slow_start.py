"""The share that a newly loaded replica gets.

Source: Envoy, "Slow start mode", with aggression 1.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Seconds = TypeVar("Seconds", float, NDArray[np.float64])
"""One age, or many."""


def ramp(age_s: Seconds, window_s: float, floor: float) -> Seconds:
    """Returns which part of its share a replica of that age gets: from `floor` evenly up to 1 after `window_s`."""
    return np.minimum(1.0, np.maximum(floor, floor + (1.0 - floor) * age_s / window_s))  # type: ignore[return-value]
