"""When requests come."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_BLOCK = 4096


def gaps(rate_per_s: float, cv: float, rng: np.random.Generator) -> Iterator[float]:
    """Yields the times between requests: Gamma distributed, in bursts where the coefficient of variation is over 1.

    With `cv` 1 that is the exponential distribution: a Poisson process.
    """
    shape = 1.0 / cv**2
    while True:
        yield from rng.gamma(shape, 1.0 / (rate_per_s * shape), _BLOCK).tolist()
