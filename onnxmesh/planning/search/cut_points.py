"""Selection of cut points for a search that cannot consider all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxmesh.planning.search.chain import Chain


def select_cut_points(chain: Chain, num_blocks: int, known: Sequence[int] = ()) -> list[int]:
    """Returns positions, both ends among them, that divide a chain into at most `num_blocks` blocks.

    The chain is divided into parts of equal progress, which is time (mean over kinds) and, where memory is limited,
    memory. Each part contributes the position with the smallest boundary; of equals the one nearest to its middle.
    For parts without a position, the smallest remaining boundaries of other parts are added.

    Args:
        chain: The blocks.
        num_blocks: Most blocks; at least 1.
        known: Positions to include first, the best first; at most two thirds of the selection.
    """
    last = chain.num_blocks
    if num_blocks >= last:
        return list(range(last + 1))
    progress = np.mean([_fraction(row) for row in chain.prefix], axis=0)
    if (chain.first_start > 0).any():
        # Where weights are large, few blocks fit in memory: there progress is fast.
        window = np.maximum(np.arange(last + 1) - chain.first_start.min(axis=0), 1)
        progress = (progress + _fraction(np.concatenate(([0.0], (1 / window[1:]).cumsum())))) / 2
    known = list(dict.fromkeys(known))[: (num_blocks - 1) * 2 // 3]
    wanted = num_blocks - 1 - len(known)
    inner = np.setdiff1d(np.arange(1, last), known)
    scaled = progress[inner] * wanted
    part = np.minimum(scaled.astype(np.int64), wanted - 1)
    order = np.lexsort((np.abs(scaled - part - 0.5), chain.crossing[inner], part))
    first = np.concatenate(([True], np.diff(part[order]) > 0))
    chosen = inner[order[first]]
    rest = inner[order[~first]]
    rest = rest[np.argsort(chain.crossing[rest], kind="stable")]
    chosen = np.concatenate((chosen, rest[: wanted - len(chosen)]))
    return [0, *sorted([*known, *map(int, chosen)]), last]


def _fraction(ascending: np.typing.NDArray[np.generic]) -> np.typing.NDArray[np.float64]:
    """Returns each element of an ascending array as a fraction of the last one."""
    numbers = np.asarray(ascending, np.float64)
    return numbers / numbers[-1] if numbers[-1] > 0 else np.linspace(0, 1, len(numbers))
