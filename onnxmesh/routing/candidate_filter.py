"""What keeps some replicas from being chosen, beside what every request looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class CandidateFilter:
    """One rule of the asker's own.

    Attributes:
        rule: Its name.
        why: Its reason, in words.
        columns: Whom it keeps out, in the order of the stage's replicas.
    """

    rule: str
    why: str
    columns: NDArray[np.bool_]
