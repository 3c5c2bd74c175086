"""Which of very many cut points a search looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxmesh.planning.search.chain import Chain


def select_cut_points(chain: Chain, num_blocks: int, known: Sequence[int] = ()) -> list[int]:
    """Returns positions, both ends among them, that divide a chain into at most so many blocks.

    The row is divided evenly by progress, which is time (the mean over the kinds) and, where memory is
    bounded, what fits it, and from each part the position with the thinnest boundary is taken; of
    equals the one nearest to the middle. Parts without a position leave their turn to the thinnest of the others.

    Args:
        chain: The blocks.
        num_blocks: At least 1.
        known: Positions to take before any other, the best first; they get two thirds of the room at most.
    """
    last = chain.num_blocks
    if num_blocks >= last:
        return list(range(last + 1))
    progress = np.mean([_share(row) for row in chain.prefix], axis=0)
    if (chain.first_start > 0).any():
        # The window that fits is narrow where weights are heavy: there progress is fast.
        window = np.maximum(np.arange(last + 1) - chain.first_start.min(axis=0), 1)
        progress = (progress + _share(np.concatenate(([0.0], (1 / window[1:]).cumsum())))) / 2
    known = list(dict.fromkeys(known))[: (num_blocks - 1) * 2 // 3]
    wanted = num_blocks - 1 - len(known)
    inner = np.setdiff1d(np.arange(1, last), known)
    place = progress[inner] * wanted
    part = np.minimum(place.astype(np.int64), wanted - 1)
    order = np.lexsort((np.abs(place - part - 0.5), chain.crossing[inner], part))
    first = np.concatenate(([True], np.diff(part[order]) > 0))
    chosen = inner[order[first]]
    rest = inner[order[~first]]
    rest = rest[np.argsort(chain.crossing[rest], kind="stable")]
    chosen = np.concatenate((chosen, rest[: wanted - len(chosen)]))
    return [0, *sorted([*known, *map(int, chosen)]), last]


def _share(row: np.typing.NDArray[np.generic]) -> np.typing.NDArray[np.float64]:
    """Returns each position's part of a growing row's last figure."""
    figures = np.asarray(row, np.float64)
    return figures / figures[-1] if figures[-1] > 0 else np.linspace(0, 1, len(figures))
